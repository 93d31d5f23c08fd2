"""What the monitor does with what it is told, on a real database."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import events_pb2 as monitor_pb
from services.chassis.errors import Invalid, NotFound
from services.monitor import handlers, queries
from services.monitor.domain.panes import LENGTH, MOST
from services.monitor.pane_store import Panes
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit

STUCK = {"education": "school"}


async def position(bench: Bench, epoch: int, stable: int, candidate: int = 0) -> None:
    body = deployer_pb.Position(model="credit", epoch=epoch, stable_version=stable, candidate_version=candidate)
    async with bench.database.begin() as uow:
        await handlers.take_position(body, uow)


async def present(bench: Bench) -> list[tuple[str, int, int]]:
    rows = await bench.rows("SELECT role, version, epoch FROM watches WHERE ended_at IS NULL ORDER BY role DESC")
    return [tuple(row) for row in rows]


async def emitted(bench: Bench) -> list[str]:
    rows = await bench.rows("SELECT header_names, header_values FROM outbox ORDER BY id")
    return [dict(zip(*row, strict=True))["ce_type"].decode() for row in rows]


async def outcome(bench: Bench, record_id: str, **more: Any) -> None:
    async with bench.database.begin() as uow:
        await handlers.take_outcome(
            ingest_pb.OutcomeRecorded(**({"model": "credit", "record_id": record_id} | more)), uow
        )


async def test_a_stuck_feed_becomes_one_signal_that_names_it(bench: Bench) -> None:
    await bench.see(1_000, epoch=4)
    await bench.see(1_000, epoch=4, broken=STUCK)
    signals = await bench.rows("SELECT body FROM signals WHERE level = 'detected'")
    signal = monitor_pb.Signal.FromString(signals[0]["body"])
    assert len(signals) == 1
    assert [effect.feature for effect in signal.features] == ["education"]
    assert (signal.model, signal.environment, signal.version, signal.epoch, signal.role) == (
        "credit",
        "production",
        1,
        4,
        "stable",
    )
    assert "education drifted over the last" in signal.sentence
    assert (await emitted(bench)).count("drift.detected") == 1


async def test_a_repaired_feed_clears_its_signal(bench: Bench) -> None:
    await bench.see(1_000, broken=STUCK)
    await bench.see(6_000, batch=500)
    ended = await bench.rows("SELECT id FROM signals WHERE level = 'detected' AND cleared_at IS NOT NULL")
    assert len(ended) == 1
    assert (await emitted(bench))[-1] == "drift.cleared"


async def test_null_traffic_raises_nothing(bench: Bench) -> None:
    await bench.see(10_000, batch=500)
    assert await bench.rows("SELECT * FROM signals") == []


async def test_a_batch_that_comes_twice_enters_the_evidence_once(bench: Bench) -> None:
    body = batch_of(credit(bench.random, 100), bench.random.random(100))
    await bench.take(body)
    await bench.take(body, body)
    assert [row["rows_seen"] for row in await bench.rows("SELECT rows_seen FROM watches")] == [100]


@pytest.mark.parametrize("arm", [pb.ARM_SHADOW, pb.ARM_HOLDBACK, pb.ARM_UNSPECIFIED])
async def test_only_the_stable_and_the_candidate_are_watched(bench: Bench, arm: int) -> None:
    await bench.see(200, arm=arm)
    assert await bench.rows("SELECT * FROM watches") == []


async def test_the_first_records_of_a_role_begin_its_watch(bench: Bench) -> None:
    await bench.see(200, version=1, epoch=1)
    await bench.see(200, version=2, epoch=2, arm=pb.ARM_CANDIDATE)
    await bench.see(200, version=1, epoch=2)
    assert await present(bench) == [("stable", 1, 1), ("candidate", 2, 2)]


async def test_a_promotion_begins_a_watch_of_its_own(bench: Bench) -> None:
    await position(bench, 1, stable=1)
    await position(bench, 2, stable=1, candidate=2)
    await position(bench, 3, stable=2)
    assert await present(bench) == [("stable", 2, 3)]


async def test_records_that_come_after_their_version_left_the_role_change_nothing(bench: Bench) -> None:
    await position(bench, 1, stable=1)
    await position(bench, 3, stable=2)
    await bench.see(200, version=1, epoch=2)
    assert await present(bench) == [("stable", 2, 3)]
    assert [row["rows_seen"] for row in await bench.rows("SELECT rows_seen FROM watches ORDER BY id")] == [0, 0]


async def test_records_may_tell_of_a_role_before_the_deployer_does(bench: Bench) -> None:
    await position(bench, 1, stable=1)
    await bench.see(200, version=2, epoch=5)
    await position(bench, 2, stable=1, candidate=2)
    await position(bench, 3, stable=2)
    assert await present(bench) == [("stable", 2, 3)]


async def test_a_version_that_comes_back_to_its_role_is_watched_afresh(bench: Bench) -> None:
    await position(bench, 1, stable=1)
    await position(bench, 3, stable=2)
    await position(bench, 4, stable=1)
    assert await present(bench) == [("stable", 1, 4)]


async def test_a_retired_deployment_is_watched_no_more(bench: Bench) -> None:
    await position(bench, 1, stable=1, candidate=2)
    async with bench.database.begin() as uow:
        await handlers.take_retired(deployer_pb.Position(model="credit", epoch=2), uow)
    assert await present(bench) == []


async def test_watches_of_a_day_share_its_false_alarms(bench: Bench) -> None:
    await bench.see(200, version=1, epoch=1)
    await bench.see(200, version=2, epoch=2)
    assert [row["restarts"] for row in await bench.rows("SELECT restarts FROM watches ORDER BY id")] == [0, 1]


async def test_a_state_that_another_release_wrote_restarts_the_evidence(bench: Bench) -> None:
    await bench.see(400)
    async with bench.database.begin() as uow:
        await uow.connection.execute("UPDATE watches SET state = 'another form'")
    await bench.see(400)
    assert [row["restarts"] for row in await bench.rows("SELECT restarts FROM watches")] == [1]


async def test_the_sample_of_a_signal_holds_its_records_with_the_outcomes_known_so_far(bench: Bench) -> None:
    await bench.see(400)
    stuck = [
        batch_of(credit(bench.random, 300, education=np.full(300, "school", dtype=object)), bench.random.random(300))
        for _ in range(3)
    ]
    for body in stuck:
        await bench.take(body)
    await outcome(bench, str(uuid.UUID(bytes=stuck[2].record_ids[:16])), label="yes")
    await outcome(bench, str(uuid.UUID(bytes=stuck[2].record_ids[16:32])), label="no")
    signal = (await bench.rows("SELECT id FROM signals WHERE level = 'detected'"))[0]["id"]
    async with bench.database.read() as connection:
        sample = await queries.sample(str(signal), 500, connection)
    assert (sample.rows, sample.rows_with_outcome) == (500, 2)
    assert {column.name for column in sample.inputs} == {"age", "education", "gains"}
    assert [value for value in sample.outcomes if value == value] == [1.0, 0.0]  # noqa: PLR0124 - NaN differs from itself
    assert len(sample.scores) == len(sample.inputs[0].numbers) == 500


async def test_the_sample_is_bounded(bench: Bench) -> None:
    bench.kept = 1_000
    await bench.see(5_000)
    kept = await bench.rows("SELECT count(*) FROM sampled_batches")
    assert kept[0]["count"] == 5


async def test_an_outcome_that_comes_before_its_record_meets_it_later(bench: Bench) -> None:
    body = batch_of(credit(bench.random, 10), np.full(10, 0.25))
    await outcome(bench, str(uuid.UUID(bytes=body.record_ids[:16])), label="no")
    await bench.take(body)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 0, connection)
        report = await queries.report(watch, bench.judge, connection)
    assert report.outcomes == 1
    assert report.log_loss == pytest.approx(-np.log(0.75))


async def test_a_report_says_how_every_feature_stands(bench: Bench) -> None:
    await bench.see(2_000)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        report = await queries.report(watch, bench.judge, connection)
    assert {effect.feature for effect in report.features} == {"age", "education", "gains", "score"}
    assert (report.state, report.rows_seen) == ("quiet", 2_000)
    assert report.sentence.startswith("within tolerance over 2,000 records")
    assert np.isnan(report.log_loss)


async def test_a_history_shows_pane_by_pane_how_evidence_grew_and_what_other_settings_would_have_found(
    bench: Bench,
) -> None:
    await bench.see(2_000)
    await bench.see(8_000, broken=STUCK)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        own = await queries.history(watch, bench.judge, connection)
        deaf = await queries.history(watch, bench.judge.by(tolerance=50.0, effect="wasserstein"), connection)
    assert sum(moment.rows for moment in own.moments) == 10_000
    assert "detected" in {found.level for moment in own.moments for found in moment.found}
    assert "detected" not in {found.level for moment in deaf.moments for found in moment.found}
    assert (own.effect, deaf.effect) == ("psi", "wasserstein")
    education = next(each for each in own.distributions if each.feature == "education")
    assert sum(education.reference) == own.reference_rows
    assert education.now[list(education.labels).index("school")] >= 0.75 * sum(education.now) > 0


async def test_panes_are_bounded_and_lose_no_record(bench: Bench) -> None:
    for _ in range(MOST + 10):
        bench.clock.advance(LENGTH)
        await bench.see(5, batch=5)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    assert len(panes) <= MOST
    assert sum(pane.window.rows for pane in panes) == 5 * (MOST + 10)


async def test_a_version_without_a_profile_is_kept_and_not_judged(bench: Bench) -> None:
    body = batch_of(credit(bench.random, 100), bench.random.random(100))
    arrived = replace(bench.arrived(body), panes=())
    async with bench.database.begin() as uow:
        await handlers.take_records([arrived], {("credit", 1): None}, uow, kept=1_000)
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 0, connection)
        report = await queries.report(watch, None, connection)
    assert "no reference profile" in report.sentence
    assert report.rows_seen == 100


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"record_id": "nonsense", "label": "yes"}, id="no record id"),
        pytest.param({"model": "", "label": "yes"}, id="no model"),
        pytest.param({}, id="neither value nor label"),
        pytest.param({"label": "yes", "occurred_at": Timestamp(seconds=2**60)}, id="no moment"),
    ],
)
async def test_an_outcome_that_says_nothing_is_refused(bench: Bench, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await outcome(bench, **({"record_id": str(uuid.uuid4())} | wrong))


async def test_outcomes_are_bounded_by_model(bench: Bench) -> None:
    async with bench.database.begin() as uow:
        for _ in range(10_000):
            body = ingest_pb.OutcomeRecorded(model="credit", record_id=str(uuid.uuid4()), value=1.0)
            await handlers.take_outcome(body, uow)
        await uow.outcomes.save(kept=100)
    kept = await bench.rows("SELECT count(*) FROM outcomes")
    assert kept[0]["count"] == 100


@pytest.mark.parametrize("token", ["-1", "x", "9" * 30, "٣"])
async def test_a_page_token_of_ones_own_is_refused(bench: Bench, token: str) -> None:
    async with bench.database.read() as connection:
        with pytest.raises(Invalid):
            await queries.list_signals("", "", token, 10, connection)


async def test_signals_come_page_by_page_newest_first(bench: Bench) -> None:
    await bench.see(1_000, broken=STUCK)
    await bench.see(1_000, broken=STUCK | {"age": 200.0})
    async with bench.database.read() as connection:
        every = await queries.list_signals("credit", "production", "", 100, connection)
        first = await queries.list_signals("credit", "", "", 1, connection)
        second = await queries.list_signals("credit", "", first.next_page_token, 100, connection)
    assert [*first.records, *second.records] == list(every.records)
    assert len(every.records) >= 2


async def test_what_nobody_saw_is_not_found(bench: Bench) -> None:
    async with bench.database.read() as connection:
        with pytest.raises(NotFound):
            await queries.find_watch("unknown", "production", 0, connection)
        with pytest.raises(NotFound):
            await queries.sample(str(uuid.uuid4()), 10, connection)
        with pytest.raises(Invalid):
            await queries.sample(str(uuid.uuid4()), 1_000_000_000, connection)
