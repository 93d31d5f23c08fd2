"""The development identity makes tokens that the services' own verifier believes, until they expire."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from golden.embedded.tokens import AUDIENCE, ISSUER, DevelopmentIdentity
from services.chassis.clock import ManualClock
from services.chassis.identity import Caller, Role, TokenVerifier, Unauthenticated

_AN_HOUR = timedelta(hours=1)


def _verifier(identity: DevelopmentIdentity) -> TokenVerifier:
    return TokenVerifier(identity.jwks_path, issuer=ISSUER, audience=AUDIENCE)


def test_a_token_says_who_and_with_which_roles(tmp_path: Path) -> None:
    identity = DevelopmentIdentity(tmp_path)
    token = identity.issue("ada", ["scientist", "reviewer"], _AN_HOUR)
    assert _verifier(identity).verify(token) == Caller("ada", frozenset({Role.SCIENTIST, Role.REVIEWER}))


def test_the_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    token = DevelopmentIdentity(tmp_path).issue("ada", [], _AN_HOUR)
    keys = (tmp_path / "jwks.json").stat().st_mtime_ns
    again = DevelopmentIdentity(tmp_path)
    assert _verifier(again).verify(token).subject == "ada"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert again.jwks_path.stat().st_mtime_ns == keys


def test_the_public_file_holds_no_private_key(tmp_path: Path) -> None:
    assert '"d"' not in DevelopmentIdentity(tmp_path).jwks_path.read_text()


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    yesterday = ManualClock(datetime.now(UTC) - timedelta(days=1))
    identity = DevelopmentIdentity(tmp_path, clock=yesterday)
    with pytest.raises(Unauthenticated, match="expired"):
        _verifier(identity).verify(identity.issue("ada", [], _AN_HOUR))


def test_another_laptops_token_is_refused(tmp_path: Path) -> None:
    stranger = DevelopmentIdentity(tmp_path / "stranger").issue("ada", ["operator"], _AN_HOUR)
    with pytest.raises(Unauthenticated, match="isn't ours"):
        _verifier(DevelopmentIdentity(tmp_path / "ours")).verify(stranger)


def test_a_token_lives_as_long_as_it_says(tmp_path: Path) -> None:
    token = DevelopmentIdentity(tmp_path, clock=ManualClock()).issue("ada", [], _AN_HOUR)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == _AN_HOUR.total_seconds()
