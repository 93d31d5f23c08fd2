"""The whole monitor on real Kafka and PostgreSQL, asked by gRPC and HTTP as others ask it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.message import Message

from goldenpath.deployer.v1 import events_pb2 as deployer_pb
from goldenpath.ingest.v1 import events_pb2 as ingest_pb
from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from goldenpath.registry.v1.events_pb2 import DriftSettings
from services.chassis.cloudevents import headers_of
from services.chassis.testing import emitted, eventually
from services.profile import profile_of
from tests.monitor.made_up import batch_of, column_of, credit, served
from tests.monitor.running import Running, asyncpg_connection, read_all


async def test_a_mirrored_candidates_answers_are_compared_with_the_stables(monitor: Running) -> None:
    scores = monitor.random.beta(1, 9, 400)
    ids = column_of("request_id", np.array([f"request-{number}" for number in range(400)], dtype=object))
    for arm, version, given in ((records_pb.ARM_SHADOW, 2, scores / 2), (records_pb.ARM_STABLE, 1, scores)):
        columns = credit(monitor.random, 400)
        body = batch_of(columns, given, arm=arm, version=version, epoch=version, request_ids=ids)
        await monitor.send(body, "inference.recorded", partition=0)  # so that the copies come first
    request = pb.GetDisagreementRequest(model="credit", version=2, epoch=2)

    async def paired() -> Any:
        found = await monitor.ask(monitor.stub.GetDisagreement, request)
        return found if found.pairs else None

    found = await eventually(paired)
    differing = int(((scores > 0.5) != (scores / 2 > 0.5)).sum())
    assert (found.pairs, found.disagreements, found.unpaired) == (400, differing, 0)
    assert found.mean_absolute_difference == pytest.approx(scores.mean() / 2)
    assert (await monitor.report()).rows_seen == 400


async def test_a_stuck_feed_is_told_and_its_repair_too(monitor: Running) -> None:
    await monitor.serve(1_000)
    await monitor.seen(1_000)
    await monitor.serve(1_000, education="school")
    signal = (await monitor.signal()).signal
    assert [effect.feature for effect in signal.features] == ["education"]
    assert (await monitor.report()).state == "detected"
    assert await monitor.emitted("drift.detected", signal.id)
    await monitor.serve(8_000, batch=500)
    assert (await monitor.signal(cleared=True)).signal.id == signal.id
    assert await monitor.emitted("drift.cleared", signal.id)


@pytest.mark.parametrize(
    ("settings", "alone", "found", "detected"),
    [
        (DriftSettings(), False, False, False),
        (DriftSettings(tolerance=0.1), False, False, False),
        (DriftSettings(), True, True, True),
        (DriftSettings(feature_tolerances={"education": 100}), True, True, False),
    ],
)
async def test_what_other_settings_would_have_found_keeps_the_versions_own_unless_they_stand_alone(
    monitor: Running, settings: DriftSettings, *, alone: bool, found: bool, detected: bool
) -> None:
    monitor.registry.drift.CopyFrom(DriftSettings(feature_tolerances={"education": 100}, false_alarms_per_year=1e-300))
    await monitor.serve(2_000, education="school")
    await monitor.seen(2_000)
    request = pb.GetHistoryRequest(model="credit", settings=settings, settings_alone=alone)
    history = await monitor.ask(monitor.stub.GetHistory, request)
    levels = {one.level for moment in history.moments for one in moment.found}
    assert (bool(levels), "detected" in levels) == (found, detected)


async def test_the_embeddings_of_a_model_server_are_watched_and_others_are_refused(monitor: Running) -> None:
    """From the request's tensor to the report: a move of two deviations in no direction of ours."""
    reference = monitor.random.normal(size=(5_000, 16))
    of_texts = profile_of({"text": reference}, scores={"score": np.full(5_000, 0.5)})
    monitor.registry.profiles["texts", 1] = of_texts.to_bytes()
    for by in (0.0, 0.5):
        for body in served(monitor.random.normal(by, size=(1_000, 16)), "texts"):
            await monitor.send(body, "inference.recorded", partition=0)
    (short,) = served(np.zeros((10, 15)), "texts")
    await monitor.send(short, "inference.recorded", partition=0)

    async def told() -> Any:
        answer = await monitor.ask(monitor.stub.ListSignals, pb.ListSignalsRequest(model="texts"))
        return answer.records and answer.records[-1].signal

    signal = await eventually(told, what="a signal about an embedding")
    report = await monitor.seen(2_000, "texts")
    assert {effect.feature.split("·")[0] for effect in signal.features} == {"text"}
    assert {effect.feature for effect in report.features} == {feature.name for feature in of_texts.features}
    assert report.rows_seen == 2_000
    (dead,) = await read_all(monitor.kafka, f"{monitor.topic}.dlq", 1)
    assert b"has 15 numbers, the reference's have 16" in dict(dead.headers)["dlq_what"]


async def test_a_sample_comes_with_the_outcomes_that_others_told(monitor: Running) -> None:
    stuck = await monitor.serve(600, education="school")
    signal = (await monitor.signal()).signal
    for place in range(0, 160, 16):
        record_id = str(UUID(bytes=stuck[0].record_ids[place : place + 16]))
        body = ingest_pb.OutcomeRecorded(model="credit", record_id=record_id, label="no")
        body.occurred_at.FromDatetime(datetime.now(UTC))
        await monitor.send(body, "outcome.recorded", topic="inference.outcomes")

    async def with_outcomes() -> Any:
        sample = await monitor.ask(monitor.stub.GetSample, pb.GetSampleRequest(signal_id=signal.id, limit=200))
        return sample if sample.rows_with_outcome == 10 else None

    sample = await eventually(with_outcomes, what="outcomes in the sample")
    assert sample.rows == 200
    assert [len(column.numbers) + len(column.codes) for column in sample.inputs] == [200] * 3
    assert sorted(sample.outcomes)[:10] == [0.0] * 10


async def test_the_deployers_word_on_roles_is_taken(monitor: Running) -> None:
    model = f"{monitor.name}-told"  # other tests read the same topic
    body = deployer_pb.DeploymentPromoted(position=deployer_pb.Position(model=model, epoch=7, stable_version=1))
    event = emitted(body, "deployment.promoted", subject=f"model/{model}")
    await monitor.producer.send_and_wait("deployer.events", event.data, key=model.encode(), headers=headers_of(event))

    async def known() -> Any:
        report = await monitor.ask(monitor.stub.GetReport, pb.GetReportRequest(model=model))
        return report and report.epoch == 7

    assert await eventually(known)


async def test_watchers_hear_of_signals_as_they_are_raised(monitor: Running) -> None:
    call = monitor.stub.WatchSignals(pb.WatchSignalsRequest(model="credit"), metadata=monitor.metadata)
    heard: asyncio.Future[Any] = asyncio.ensure_future(call.read())
    await monitor.serve(400)
    await monitor.seen(400)
    await monitor.serve(600, education="school")
    async with asyncio.timeout(20):
        assert (await heard).record.signal.model == "credit"
    call.cancel()


async def test_http_answers_as_grpc_does(monitor: Running) -> None:
    await monitor.serve(600, education="school")
    signal = (await monitor.signal()).signal
    async with monitor.http() as client:
        report = (await client.get("/v1/reports/credit/production")).json()
        listed = (await client.get("/v1/signals", params={"model": "credit"})).json()
        one = (await client.get(f"/v1/signals/{signal.id}")).json()
        nothing = await client.get("/v1/reports/unknown/production")
    assert report["signal"]["id"] == one["signal"]["id"] == signal.id
    assert signal.id in {record["signal"]["id"] for record in listed["records"]}
    assert nothing.status_code == httpx.codes.NOT_FOUND
    assert await eventually(monitor.ready)


async def test_a_version_whose_records_cant_be_counted_is_named_and_the_monitor_stays_ready(monitor: Running) -> None:
    await monitor.serve(200)
    await monitor.seen(200)
    async with asyncpg_connection(monitor.dsn) as connection:
        await connection.execute(
            "INSERT INTO uncounted SELECT id, 7, now(), 'a bug', 'infinity' FROM watches WHERE model = 'credit'"
        )

    async def named() -> Any:
        async with monitor.http() as client:
            answer = await client.get("/readyz")
        return answer.is_success and answer.json()["outcomes"].endswith("in 7 tries: a bug") and answer.json()

    word = (await eventually(named, what="a word on /readyz"))["outcomes"]
    assert word.startswith("degraded: records that are due can't be counted of credit/production, version 1 as stable")


async def test_who_serves_in_which_role_is_rebuilt_after_its_table_was_lost(monitor: Running, unique: str) -> None:
    for epoch, (stable, candidate) in enumerate([(1, 0), (1, 2), (2, 0), (2, 3)], start=1):
        position = deployer_pb.Position(
            model=unique, epoch=epoch, stable_version=stable, candidate_version=candidate, candidate_weight=5
        )
        body = deployer_pb.DeploymentAdvanced(position=position)
        await monitor.send(body, "deployment.advanced", topic="deployer.events")

    async def roles() -> list[tuple[Any, ...]]:
        async with asyncpg_connection(monitor.dsn) as connection:
            rows = await connection.fetch(
                """SELECT role, version, epoch FROM watches WHERE model = $1 AND ended_at IS NULL ORDER BY role""",
                unique,
            )
        return [tuple(row) for row in rows]

    async def settled() -> bool:
        return await roles() == [("candidate", 3, 4), ("stable", 2, 3)]

    await eventually(settled, what="the roles")
    async with asyncpg_connection(monitor.dsn) as connection:
        await connection.execute("UPDATE watches SET version = 99, epoch = 99 WHERE model = $1", unique)
    async with monitor.http() as client:
        answer = await client.post("/v1/rebuild", json={"reason": "damaged by hand"})
        assert answer.status_code == httpx.codes.OK, answer.text
    await eventually(settled, what="the roles again")


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        pytest.param("GetReport", pb.GetReportRequest(model="unknown"), grpc.StatusCode.NOT_FOUND, id="unknown model"),
        pytest.param("GetSignal", pb.GetSignalRequest(signal_id="x"), grpc.StatusCode.NOT_FOUND, id="no signal id"),
        pytest.param(
            "ListSignals", pb.ListSignalsRequest(page_size=10**9), grpc.StatusCode.INVALID_ARGUMENT, id="a huge page"
        ),
        pytest.param(
            "GetSample", pb.GetSampleRequest(limit=10**9), grpc.StatusCode.INVALID_ARGUMENT, id="a huge sample"
        ),
    ],
)
async def test_a_bad_question_gets_a_clear_answer(
    monitor: Running, method: str, request_: Message, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await getattr(monitor.stub, method)(request_, metadata=monitor.metadata, timeout=5)
    assert raised.value.code() is code


async def test_without_a_token_nothing_is_told(monitor: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await monitor.stub.GetReport(pb.GetReportRequest(model="credit"), timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
