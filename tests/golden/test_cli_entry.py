"""The command line as a whole: help, statuses, plain output, and errors without a stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from golden.__main__ import _GROUPS, _wanted

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(name for commands in _GROUPS.values() for name in commands)
HEAVY = {"numpy", "pandas", "mlflow", "sqlalchemy", "fastapi", "asyncpg", "sklearn", "pyarrow", "pydantic"}
UNANSWERED = {f"GOLDEN_{name}": "127.0.0.1:1" for name in ("REGISTRY", "GOVERNANCE", "DEPLOYER", "MONITOR")}


def process(
    *words: str, environment: Mapping[str, str] | None = None, python: Sequence[str] = ("-m", "golden")
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("GOLDEN_", "FORCE_COLOR"))}
    return subprocess.run(
        [sys.executable, *python, *words],
        env=kept | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["events", "validate"], ["deadletters", "drop"]]
)
def test_every_help_is_printed_and_says_what_the_command_does(golden: Any, command: list[str]) -> None:
    ended = golden(*command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "Usage: golden" in ended.out
    assert "[[" not in ended.out


def test_help_imports_nothing_that_costs_a_second() -> None:
    code = "import sys, golden.__main__ as m; m.build(); print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    ended = process(python=("-c", code))
    assert ended.returncode == 0, ended.stderr
    assert HEAVY & set(ended.stdout.split()) == set()


def test_completion_can_be_installed_and_completes_commands(golden: Any) -> None:
    assert "--install-completion" in golden("--help").out
    asked = {"_GOLDEN_COMPLETE": "complete_bash", "COMP_WORDS": "golden dep", "COMP_CWORD": "1"}
    ended = process(environment=asked, python=("-c", COMPLETE))
    assert ended.stdout.split() == ["deploy"]


COMPLETE = "import sys; sys.argv = ['golden']; from golden.__main__ import main; main()"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["promote", "credit"], "promote"),
        (["--as", "ada:reviewer", "approve", "credit"], "approve"),
        (["--as", "audit", "approve", "credit"], "approve"),
        (["--as=ada", "deny"], "deny"),
        (["--help"], ""),
        (["nonsense", "promote"], ""),
    ],
)
def test_only_the_module_of_the_command_that_runs_is_imported(words: list[str], command: str) -> None:
    assert _wanted(words) == command


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["nonsense"], id="no such command"),
        pytest.param(["promote"], id="no model"),
        pytest.param(["deny", "credit@2"], id="no reason"),
        pytest.param(["promote", "credit", "--nonsense"], id="no such option"),
        pytest.param(["token", "--hours", "-1"], id="out of range"),
    ],
)
def test_a_command_that_is_written_wrongly_ends_with_status_2_and_no_stack(golden: Any, words: list[str]) -> None:
    ended = golden(*words)
    assert (ended.status, ended.out) == (2, "")
    assert "Usage: golden" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("words", [["status"], ["promote", "credit"], ["trace", "credit"], ["token"], ["doctor"]])
def test_where_no_platform_runs_it_says_how_to_start_one(
    golden: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.setenv("GOLDEN_HOME", str(tmp_path / "home"))
    ended = golden(*words)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "✗ no platform is running here\n  to do: golden up\n"


@pytest.mark.parametrize(
    ("words", "service"),
    [(["promote", "credit"], "deployer"), (["explain", "credit"], "governance"), (["watch", "credit"], "deployer")],
)
def test_a_service_that_is_silent_is_named_with_its_address(words: list[str], service: str) -> None:
    ended = process(*words, environment=UNANSWERED | {"GOLDEN_TOKEN": "none"})
    assert (ended.returncode, ended.stdout) == (1, "")
    first, second = ended.stderr.splitlines()
    assert first == f"✗ the {service} at 127.0.0.1:1 doesn't answer"
    assert "golden status" in second


def test_a_service_that_nobody_named_is_asked_for(golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDEN_REGISTRY", "127.0.0.1:1")
    ended = golden("promote", "credit")
    assert (ended.status, ended.err.splitlines()[0]) == (1, "✗ this platform runs no deployer")
    assert "set GOLDEN_DEPLOYER" in ended.err


def test_without_a_token_it_says_so(platform: Any, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDEN_TOKEN", "none")
    ended = golden("promote", "credit")
    assert (ended.status, ended.out) == (1, "")
    assert "the token is not valid" in ended.err
    assert platform.asked == []


def test_an_error_nobody_thought_of_keeps_its_stack(golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("golden.commands.deployments.connect", broken)
    with pytest.raises(ZeroDivisionError):
        golden("promote", "credit")


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"COLUMNS": "20"}, {"TERM": "dumb"}])
def test_what_goes_into_a_file_is_plain_and_stays_on_one_line(environment: dict[str, str]) -> None:
    ended = process("deploy", "Not-A-Model-Of-Quite-Some-Length", environment=environment)
    assert ended.returncode == 1
    assert "\x1b" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 2


def test_the_schema_of_golden_yaml_is_printed_without_a_warning() -> None:
    ended = process(python=("-W", "error", "-m", "golden.project"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (ROOT / "docs" / "golden.schema.json").read_text()
