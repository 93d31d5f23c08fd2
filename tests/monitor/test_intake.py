"""Replicas that get in each other's way: whichever takes what when, each record takes effect once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.chassis import instruments, parking, telemetry
from services.chassis.cloudevents import headers_of
from services.chassis.errors import Invalid, Unavailable
from services.chassis.http_server import create_app
from services.chassis.parking import Raw
from services.chassis.testing import Issuer, emitted
from services.monitor import queries
from services.monitor.domain.judge import Judge
from services.monitor.domain.state import State
from services.monitor.intake import Intake, Moved, Read
from services.monitor.packed import whole
from services.monitor.pane_store import Panes
from services.profile import count, empty
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit

RANDOM = np.random.default_rng(21)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BODIES = [batch_of(credit(RANDOM, 100), RANDOM.beta(1, 9, 100)) for _ in range(30)]


def raws() -> list[Raw]:
    """The batches as they stand on a partition."""
    events = [emitted(body, "inference.recorded", subject="model/credit") for body in BODIES]
    return [
        Raw("records", 0, offset, None, headers_of(event), event.data, 1_780_000_000_000)
        for offset, event in enumerate(events)
    ]


class Remembered:
    """Judges that need no registry."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    async def of(self, _model: str, _version: int) -> Judge:
        return self.judge


def replica(bench: Bench) -> Intake:
    judges: Any = Remembered(bench.judge)
    return Intake("test", "records", bench.database, judges, kept=10_000)


async def outcome(bench: Bench) -> tuple[int, bytes, State]:
    """All that was counted, and what the judge remembers."""
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    total = sum((pane.window for pane in panes), start=empty(bench.judge.profile))
    return watch.rows_seen, total.to_bytes(), State.from_bytes(watch.state or b"")


def expected(bench: Bench) -> bytes:
    windows = [count(bench.judge.profile, whole(body.SerializeToString()).columns) for body in BODIES]
    return sum(windows, start=empty(bench.judge.profile)).to_bytes()


async def take(intake: Intake, pieces: Sequence[Raw], bounds: Sequence[int]) -> None:
    await intake.places([0])
    for start, stop in pairwise(bounds):
        await intake.take(Read(0, start, pieces[start:stop]))


@pytest.mark.parametrize(
    "bounds", [[0, 30], [0, 1, 30], [0, 10, 20, 30], list(range(31))], ids=["one", "two", "three", "each"]
)
async def test_however_polls_are_cut_the_counts_and_the_evidence_are_the_same(bench: Bench, bounds: list[int]) -> None:
    await take(replica(bench), raws(), bounds)
    seen, total, state = await outcome(bench)
    alone, _ = bench.judge.observe(
        bench.judge.begin(bench.clock.now()), [bench.arrived(body).window for body in BODIES], bench.clock.now()
    )
    assert (seen, total) == (3_000, expected(bench))
    assert state.evidence == pytest.approx(alone.evidence, rel=1e-9, abs=1e-30)
    assert np.array_equal(state.history.since(), alone.history.since())


async def test_a_replica_that_was_paused_and_comes_back_late_changes_nothing(bench: Bench) -> None:
    pieces, paused, other = raws(), replica(bench), replica(bench)
    await take(paused, pieces, [0, 10])
    await other.take(Read(0, 10, pieces[10:20]))
    with pytest.raises(Moved):
        await paused.take(Read(0, 10, pieces[10:15]))
    await other.take(Read(0, 20, pieces[20:]))
    assert (await outcome(bench))[:2] == (3_000, expected(bench))


async def test_what_is_read_of_several_partitions_is_one_transaction_behind_all_their_fences(bench: Bench) -> None:
    pieces, ours, other = raws(), replica(bench), replica(bench)
    await ours.places([0, 1, 2])
    reads = [Read(2, 0, pieces[:8]), Read(0, 0, pieces[8:20]), Read(1, 0, pieces[20:])]
    await other.take(reads[0])
    with pytest.raises(Moved):
        await ours.take(*reads)
    assert await ours.places([0, 1, 2]) == {0: 0, 1: 0, 2: 8}
    assert await ours.take(reads[1], reads[2]) == [[False] * 12, [False] * 10]
    assert await ours.places([0, 1, 2]) == {0: 20, 1: 30, 2: 8}
    assert (await outcome(bench))[:2] == (3_000, expected(bench))


async def test_a_replica_that_dies_in_the_middle_of_a_poll_leaves_no_half_of_it(bench: Bench) -> None:
    pieces, dying, other = raws(), replica(bench), replica(bench)
    await take(dying, pieces, [0, 10])
    begun = bench.database.begin

    class Died(Exception):
        pass

    async def half() -> None:
        async with begun() as uow:
            await uow.records.move("records", 0, old=10, new=20)
            await uow.panes.add(1, [pane for body in BODIES[10:15] for pane in bench.arrived(body).panes])
            raise Died

    with pytest.raises(Died):
        await half()
    await other.take(Read(0, 10, pieces[10:]))
    assert (await outcome(bench))[:2] == (3_000, expected(bench))


async def test_how_a_deployment_stands_is_a_metric(bench: Bench) -> None:
    await take(replica(bench), raws(), [0, 30])
    labels = ("credit", "production", "stable")
    assert instruments.MONITOR_SEEN.labels(*labels)._value.get() == 3_000
    assert instruments.MONITOR_DRIFTING.labels(*labels)._value.get() == 0
    assert instruments.MONITOR_EVIDENCE.labels(*labels)._value.get() < 1


async def test_the_count_of_signals_links_to_the_trace_of_the_newest(bench: Bench, tmp_path: Path) -> None:
    await bench.see(1_000, environment="linked")
    with telemetry.continuing(f"00-{TRACE}-00f067aa0ba902b7-01"):
        await bench.see(1_000, environment="linked", broken={"education": "school"})
    app = create_app("monitor", verifier=Issuer(tmp_path).verifier(), checks={}, deadline=timedelta(seconds=3))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        plain = await client.get("/metrics")
        linked = await client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    read: Any = text_string_to_metric_families  # prometheus_client is typed in part
    families = {family.name: family for family in read(linked.text)}
    samples = families["goldenpath_monitor_signals"].samples
    ours = [sample for sample in samples if sample.name.endswith("_total") and sample.labels["environment"] == "linked"]
    assert {(sample.labels["level"], sample.value) for sample in ours} == {("detected", 1.0)}
    assert [sample.exemplar.labels for sample in ours if sample.exemplar] == [{"trace_id": TRACE}]
    assert linked.headers["content-type"].startswith("application/openmetrics-text")
    assert (plain.headers["content-type"].startswith("text/plain"), TRACE in plain.text) == (True, False)


async def test_while_the_registry_is_down_nothing_moves(bench: Bench) -> None:
    class Down:
        async def of(self, _model: str, _version: int) -> Judge:
            raise Unavailable("the registry doesn't answer")

    judges: Any = Down()
    intake = Intake("test", "records", bench.database, judges, kept=10_000)
    await intake.places([0])
    with pytest.raises(Unavailable):
        await intake.take(Read(0, 0, raws()[:5]))
    assert await intake.places([0]) == {0: 0}


async def test_what_is_replayed_while_the_registry_is_away_is_tried_again(bench: Bench) -> None:
    class Away(Remembered):
        async def of(self, _model: str, _version: int) -> Judge:
            raise Unavailable("the registry doesn't answer")

    intake = replica(bench)
    await intake.places([0])
    await intake.bury(0, 0, raws()[0], Invalid("by a release that couldn't read it"))
    async with bench.database.begin() as uow:
        (dead,) = await parking.list_dead(uow.connection, after=0, limit=10)
        await parking.replay(uow.connection, dead["id"], actor="ada", reason="mended")
    away: Any = Away(bench.judge)
    with pytest.raises(Unavailable):
        await Intake("test", "records", bench.database, away, kept=10_000).retry_one()
    assert await intake.retry_one()
    assert (await outcome(bench))[0] > 0
