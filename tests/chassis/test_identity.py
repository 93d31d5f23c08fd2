from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import Denied, Unavailable
from services.chassis.identity import Caller, Role, Unauthenticated, acting, bearer, caller
from services.chassis.testing import AUDIENCE, ISSUER, Issuer


def test_a_valid_token_names_its_caller_and_their_roles(issuer: Issuer) -> None:
    token = issuer.token("ada", Role.SCIENTIST, Role.REVIEWER)

    assert issuer.verifier().verify(token) == Caller("ada", frozenset({Role.SCIENTIST, Role.REVIEWER}))


def test_a_missing_token_is_refused_with_what_to_do(issuer: Issuer) -> None:
    with pytest.raises(Unauthenticated, match="no token") as caught:
        issuer.verifier().verify("")

    assert "authorization" in caught.value.fix


def test_an_expired_token_is_refused(issuer: Issuer) -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        issuer.verifier().verify(issuer.token("ada", lifetime=timedelta(seconds=-1)))


def test_a_token_of_another_issuers_key_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with pytest.raises(Unauthenticated, match="isn't ours"):
        issuer.verifier().verify(Issuer(elsewhere).token("ada"))


def test_a_token_signed_by_another_key_under_our_keys_name_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    forger = Issuer(elsewhere)
    forger._key_id = issuer._key_id

    with pytest.raises(Unauthenticated, match="not valid"):
        issuer.verifier().verify(forger.token("ada", Role.OPERATOR))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"iss": "https://elsewhere.example"}, id="another issuer"),
        pytest.param({"aud": "another-platform"}, id="another audience"),
        pytest.param({"sub": 7}, id="a subject that is no text"),
    ],
)
def test_a_token_for_somebody_else_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        issuer.verifier().verify(issuer.token("ada", **claims))


def unsigned(issuer: Issuer) -> str:
    head = {"alg": "none", "typ": "JWT", "kid": issuer._key_id}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "roles": ["operator"], "exp": 4_000_000_000}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, claims))
    return ".".join([*parts, ""])


def test_an_unsigned_token_is_refused(issuer: Issuer) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        issuer.verifier().verify(unsigned(issuer))


def test_a_token_signed_with_our_public_key_as_a_secret_is_refused(issuer: Issuer) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": 4_000_000_000}
    secret = json.loads(issuer.jwks_path.read_text())["keys"][0]["x"].ljust(64, "=")
    forged = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": issuer._key_id})

    with pytest.raises(Unauthenticated, match="not valid"):
        issuer.verifier().verify(forged)


def test_a_token_without_a_key_id_is_refused(issuer: Issuer) -> None:
    token = jwt.encode({"sub": "ada"}, issuer._key, algorithm="ES256")

    with pytest.raises(Unauthenticated, match="isn't ours"):
        issuer.verifier().verify(token)


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param(["emperor"], id="a role that we don't know"),
        pytest.param("operator", id="a text"),
        pytest.param([{"name": "operator"}], id="an object"),
        pytest.param(None, id="nothing"),
        pytest.param(7, id="a number"),
    ],
)
def test_what_names_no_role_of_ours_gives_no_right(issuer: Issuer, roles: object) -> None:
    found = issuer.verifier().verify(issuer.token("ada", roles=roles))

    assert found.roles == frozenset()
    with pytest.raises(Denied, match="takes the role operator"):
        found.require(Role.OPERATOR)


def test_one_of_the_allowed_roles_is_enough() -> None:
    ada = Caller("ada", frozenset({Role.REVIEWER}))

    assert ada.require(Role.OPERATOR, Role.REVIEWER) is ada


def test_new_keys_are_read_when_the_file_changes(issuer: Issuer, tmp_path: Path) -> None:
    verifier = issuer.verifier()
    verifier.verify(issuer.token("ada"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    renewed = Issuer(elsewhere)
    issuer.jwks_path.write_bytes(renewed.jwks_path.read_bytes())

    assert verifier.verify(renewed.token("ada")).subject == "ada"


@pytest.mark.parametrize("keys", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "moon"}]}'])
def test_keys_that_cant_be_read_are_the_servers_trouble(issuer: Issuer, keys: str) -> None:
    issuer.jwks_path.write_text(keys)

    with pytest.raises(Unavailable, match="can't be read"):
        issuer.verifier().verify(issuer.token("ada"))


@given(
    token=st.text(min_size=1) | st.binary(min_size=1).map(lambda part: base64.urlsafe_b64encode(part).decode() + ".a.b")
)
def test_any_other_text_is_no_token(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    verifier = Issuer(tmp_path_factory.mktemp("issuer")).verifier()

    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_a_header_nested_without_end_is_no_token(issuer: Issuer) -> None:
    head = base64.urlsafe_b64encode(b"[" * 100_000).decode()

    with pytest.raises(Unauthenticated):
        issuer.verifier().verify(f"{head}.a.b")


def test_the_caller_is_known_within_and_nobody_outside() -> None:
    with acting(Caller("ada", frozenset())):
        assert caller().subject == "ada"

    with pytest.raises(Unauthenticated):
        caller()


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("abc", ""), ("", "")],
)
def test_only_a_bearers_token_counts(header: str, token: str) -> None:
    assert bearer(header) == token
