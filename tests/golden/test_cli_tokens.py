"""`golden token`: for whom it is asked for, and whom it lets act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from golden import session
from golden.embedded.tokens import DevelopmentIdentity


class Running:
    """This machine's platform, as far as tokens go."""

    def __init__(self, folder: Path) -> None:
        self._identity = DevelopmentIdentity(folder)

    def token(self, *asked: Any) -> str:
        return self._identity.issue(*asked)


@pytest.mark.parametrize(
    ("words", "subject", "roles"),
    [
        pytest.param(["token", "--as", "ada:reviewer"], "ada", ["reviewer"], id="its own option"),
        pytest.param(["--as", "ada:reviewer,operator", "token"], "ada", ["reviewer", "operator"], id="the root's"),
    ],
)
def test_a_token_is_for_whom_it_is_asked_for(
    golden: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], subject: str, roles: list[str]
) -> None:
    monkeypatch.setattr("golden.embedded.platform.attach_quietly", lambda: Running(tmp_path))
    ended = golden(*words, "--hours", "2")
    claims = jwt.decode(ended.out.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["roles"]) == (subject, roles)
    assert claims["exp"] - claims["iat"] == 7200
    assert golden(*words, "--json").json["subject"] == subject


def test_a_role_that_there_is_not_is_refused_with_those_that_there_are(golden: Any) -> None:
    ended = golden("token", "--as", "ada:king")
    assert ended.status == 1
    assert "✗ --as: there is no role 'king'" in ended.err
    assert "reviewer" in ended.err


def test_nobody_else_acts_on_a_platform_that_makes_no_tokens_here(platform: Any, golden: Any) -> None:
    ended = golden("--as", "grace:reviewer", "approve", "credit@2")
    assert ended.status == 1
    assert "set GOLDEN_TOKEN" in ended.err
    assert platform.asked == []


def test_without_a_name_everybody_may_do_everything_but_be_a_service() -> None:
    assert "service" not in session.identity("ada")[1]
    assert session.identity("ada:")[0] == "ada"
