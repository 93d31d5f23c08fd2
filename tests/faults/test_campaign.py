"""How a campaign ends: a promise that doesn't hold is said with its seed, and the evidence is kept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from tests.faults.campaign import Broken, Campaign, Settings


class Idle(Campaign):
    """A campaign in which nothing is done, and all is well."""

    async def _run(self) -> None:
        self._database.mkdir()
        (self._database / "kept").write_text("what stood in the database")


class Failing(Idle):
    """A campaign that finds a promise broken."""

    async def _run(self) -> None:
        await super()._run()
        raise Broken("two events were lost")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where campaigns keep what they keep."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_promise_that_does_not_hold_is_said_with_its_seed_and_the_evidence_is_kept(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = asyncio.run(Failing(Settings(seed=11, steps=68, replicas=2)).run())
    said = capfd.readouterr().out
    (kept,) = folder.iterdir()

    assert status == 1
    assert "✗ Broken: two events were lost" in said
    assert f'kept: {kept}   the same again: make faults ARGS="--seed 11 --steps 68 --replicas 2"' in said
    assert "two events were lost" in (kept / "campaign.log").read_text()
    assert [file.read_text() for file in kept.rglob("kept")] == ["what stood in the database"]


def test_a_campaign_in_which_all_is_well_leaves_nothing(folder: Path) -> None:
    status = asyncio.run(Idle(Settings(seed=11, steps=68, replicas=2)).run())

    assert (status, list(folder.iterdir())) == (0, [])
