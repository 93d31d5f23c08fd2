"""The demo's claims can't be faked: break what it stands on, and it says so and exits non-zero."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "golden", "demo", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sabotage", "missing"),
    [
        pytest.param("governance-down", "VERDICT_STATE_REJECTED", id="governance down before the verdict"),
        pytest.param("artifact-byte", "the rollout of version 2 ended", id="one byte of the artifact changed"),
        pytest.param("verdict-revoked", "the rollout of version 2 ended", id="the verdict revoked mid-rollout"),
        pytest.param("monitor-stopped", "drift.detected didn't happen", id="the monitor stopped"),
    ],
)
def test_the_demo_fails_when_what_it_claims_is_broken(tmp_path: Path, sabotage: str, missing: str) -> None:
    ended = demo(tmp_path / "home", "--sabotage", sabotage, "--patience", "60")
    assert ended.returncode == 1, ended.stdout
    assert missing in " ".join(ended.stdout.split())
