"""The contracts: generated code is what the protos say, they are well formed, and no release breaks an earlier one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

BUF = str(Path(sys.executable).with_name("buf"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # The compiler looks for its plugins on the path; they are installed beside this interpreter.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def published() -> list[str]:
    """What may not be broken: the last commit, and the releases of this tree's history, newest first."""
    return ["HEAD", *run("git", "tag", "--merged", "HEAD", "--sort=-creatordate").stdout.split()]


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.suffix in {".py", ".pyi"})
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_generated_code_is_what_the_contracts_say(tmp_path: Path) -> None:
    done = run(sys.executable, "protos/generate.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    generated, committed = contents(tmp_path), contents(ROOT / "protos" / "gen")

    assert sorted(committed) == sorted(generated), "make protos"
    assert [name for name in generated if generated[name] != committed[name]] == [], "make protos"


def test_the_contracts_keep_the_rules_of_style_and_comments() -> None:
    done = run(BUF, "lint")

    assert done.returncode == 0, done.stdout


def test_the_contracts_are_formatted() -> None:
    done = run(BUF, "format", "--diff", "--exit-code")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("revision", published())
def test_the_contracts_break_nothing_that_is_published(revision: str) -> None:
    history = run("git", "rev-parse", "--git-common-dir").stdout.strip()
    done = run(BUF, "breaking", "--against", f"{history}#ref={revision},format=git")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_field_that_goes_away_breaks_the_contracts(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    events = tmp_path / "protos" / "goldenpath" / "ingest" / "v1" / "events.proto"
    events.write_text(events.read_text().replace("  string unit = 6;\n", ""))

    done = run(BUF, "breaking", str(tmp_path), "--against", str(ROOT))

    assert 'field "6" with name "unit"' in done.stdout
