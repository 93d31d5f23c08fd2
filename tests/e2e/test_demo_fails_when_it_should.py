"""The demo's claims can't be faked: break what it stands on, and it says so and exits non-zero.

Each sabotage is a whole demo on a platform of its own. They share what isn't theirs to prove: both versions are
trained once, into the MLflow of a home that each demo gets a copy of. They run one at a time, beside the tests of the
other workers: with more platforms than that on two cores, a registration runs out of patience.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from golden import training
from golden.demo.sabotage import SABOTAGES
from golden.embedded import platform
from golden.embedded.platform import Platform, Ports

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "credit" / "train.ipynb"


@dataclass(frozen=True)
class Trained:
    """A stopped platform whose MLflow has both versions' runs."""

    home: Path
    runs: list[str]

    def copy(self, home: Path) -> None:
        """Give a demo the runs: PostgreSQL's data, under the owner that it has, and the passwords to it."""
        home.mkdir(mode=0o755)
        for part in ("postgres", "platform.json"):
            subprocess.run(["cp", "-Rp", self.home / part, home], check=True)


Ended = Future[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """Both versions, trained as the demo does."""
    with tempfile.TemporaryDirectory(prefix="golden-trained-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where the tests run as root
        home = Path(folder) / "home"
        try:
            running = platform.up(home, only=frozenset({"registry"}), ports=Ports.free(), say=lambda _: None)
            runs = [one.run_id() for one in [training_of(running, version) for version in (1, 2)]]
        finally:
            platform.down(home, wipe=False)
        yield Trained(home, runs)


def training_of(running: Platform, version: int) -> training.Training:
    return training.start(
        NOTEBOOK,
        running.home.with_name(f"version-{version}.ipynb"),
        parameters={"version": version},
        tracking=running.endpoints().tracking,
        artifacts=running.folders.mlflow,
    )


@pytest.fixture(scope="module")
def demos(trained: Trained) -> Iterator[dict[str, Ended]]:
    """Each sabotage's demo."""
    with ThreadPoolExecutor(1) as pool:
        yield {sabotage: pool.submit(demo, trained, sabotage) for sabotage in SABOTAGES}


def demo(trained: Trained, sabotage: str) -> subprocess.CompletedProcess[str]:
    home = trained.home.with_name(sabotage)
    trained.copy(home)
    runs = [word for run in trained.runs for word in ("--trained", run)]
    command = [sys.executable, "-m", "golden", "demo", "--home", str(home), "--sabotage", sabotage, *runs]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sabotage", "missing"),
    [
        pytest.param("governance-down", "the governance at 127.0.0.1:", id="governance down before the verdict"),
        pytest.param("artifact-byte", "the rollout of version 1 ended", id="one byte of the artifact changed"),
        pytest.param("verdict-revoked", "the rollout of version 2 ended", id="the verdict revoked mid-rollout"),
        pytest.param("monitor-stopped", "the monitor at 127.0.0.1:", id="the monitor stopped"),
    ],
)
def test_the_demo_fails_when_what_it_claims_is_broken(demos: dict[str, Ended], sabotage: str, missing: str) -> None:
    ended = demos[sabotage].result()
    assert ended.returncode == 1, ended.stdout
    assert missing in " ".join(ended.stdout.split())
