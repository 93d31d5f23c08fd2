"""How fast the monitor reads: from the bytes of messages to judged windows, in rows per second of CPU.

A model with 20 numbers, 5 texts of eight values, and a score; columnar batches of 1,000 rows as model servers send
them, in polls of 20 batches: a fifth of a second's records at 100,000 a second. Decoding, counting, panes and judging
are what `services.monitor.intake` does, without its database. Through Kafka all is there: a real broker, the monitor's
own reader, a PostgreSQL; beside it what the client alone costs, `getmany` of the same messages in fetches of the same
size, as any process would do that. Both have read another topic before, so that what a process does once isn't
counted. Garbage is looked for when the monitor's own reader does.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from google.protobuf.json_format import MessageToJson
from pydantic import SecretStr

from benchmarks.figures import TIMES, Figure
from golden.embedded.kafka import KafkaBroker
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import free_port
from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis import cloudevents
from services.chassis.clock import SystemClock
from services.chassis.parking import Raw
from services.chassis.settings import KafkaAccess
from services.chassis.testing import emitted
from services.chassis.topics import RECORDS, create_topics
from services.monitor.app import database_of
from services.monitor.clients import MOST_JUDGES
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import Pane, added
from services.monitor.forms import SINGLE
from services.monitor.intake import Intake
from services.monitor.preparing import prepare
from services.monitor.settings import MonitorSettings
from services.monitor.stream import FETCH_BYTES, NAME, RecordStream, garbage_waits
from services.profile import Column, ReferenceProfile, profile_of

ROWS = 1_000  # a batch
POLL = 20  # batches
BATCHES = 200
KAFKA_BATCHES = 600
KAFKA_SINGLES = 100_000
SINGLES = 5_000  # a poll
POLLS = 5
JUDGES = 200
UNIT = "rows/CPU s"
_LOOK_S = 0.2  # whether all was read: seldom, as asking costs what is measured
NUMBERS, TEXTS = 20, 5
REFERENCE_ROWS = 50_000
WORDS = np.array(list("abcdefgh"), dtype=object)
Message = tuple[list[tuple[str, bytes]], bytes]


def measure() -> list[Figure]:
    """Rows per CPU second of each form of message, and through Kafka."""
    random = np.random.default_rng(0)
    profile = made_up_profile(random)
    judge = Judge(profile, Settings())
    messages, rows = [message(random, number) for number in range(1, BATCHES + 1)], ROWS * BATCHES
    columnar = _rate(lambda: _judge_all(judge, messages, POLL, rows), rows)
    beside = f"{NUMBERS} numbers, {TEXTS} texts, a score; batches of {ROWS:,}, {POLL} a look"
    figures = [Figure("monitor.columnar.rows_per_cpu_second", columnar, UNIT, beside)]
    for name, content_type in (("protobuf", cloudevents.PROTOBUF), ("json", cloudevents.JSON)):
        events = [_single(random, content_type) for _ in range(POLLS * SINGLES)]
        rate = _rate(partial(_judge_all, judge, events, SINGLES, POLLS * SINGLES), POLLS * SINGLES)
        figures.append(
            Figure(f"monitor.{name}.rows_per_cpu_second", rate, UNIT, f"single events, polls of {SINGLES:,}")
        )
    figures.append(_memory(random))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return [*figures, *_through_kafka(Path(folder), profile, random)]


def made_up_profile(random: np.random.Generator, rows: int = REFERENCE_ROWS) -> ReferenceProfile:
    """The reference of a model whose records `message` tells."""
    return profile_of(_columns(random, rows), scores={"score": random.random(rows)})


def _columns(random: np.random.Generator, rows: int) -> dict[str, Column]:
    numbers: dict[str, Column] = {f"n{place:02}": random.normal(size=rows) for place in range(NUMBERS)}
    return numbers | {f"t{place}": random.choice(WORDS, rows) for place in range(TEXTS)}


def message(random: np.random.Generator, number: int, *, rows: int = ROWS, model: str = "bench") -> Message:
    """A batch of records, as it stands on the topic."""
    batch = pb.InferenceRecorded(
        model=model,
        version=1,
        environment="production",
        epoch=1,
        arm=pb.ARM_STABLE,
        server="bench",
        batch=number,
        record_ids=random.bytes(16 * rows),
        event_times_us=(int(time.time() * 1e6) + np.arange(rows)).tolist(),
        assignment_probabilities=[1.0] * rows,
        durations_us=random.integers(500, 5_000, rows).tolist(),
        inputs=[_column(name, column) for name, column in _columns(random, rows).items()],
        outputs=[pb.Column(name="score", numbers=random.random(rows).tolist())],
    )
    event = emitted(batch, "inference.recorded", subject=f"model/{model}")
    return cloudevents.headers_of(event), event.data


def _column(name: str, column: Column) -> pb.Column:
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return pb.Column(name=name, numbers=values.tolist())
    words = WORDS.tolist()
    return pb.Column(name=name, dictionary=words, codes=[words.index(value) for value in values])


def _judge_all(judge: Judge, messages: Sequence[Message], poll: int, rows: int) -> None:
    """Judge messages of so many rows in all, in polls of so many messages."""
    asyncio.run(_judged(judge, messages, poll, rows))


async def _judged(judge: Judge, messages: Sequence[Message], poll: int, rows: int) -> None:
    judges, state = _OneJudge(judge), judge.begin(datetime.now(UTC))
    panes: tuple[Pane, ...] = ()
    for start in range(0, len(messages), poll):
        now = datetime.now(UTC)
        appended_ms = int(now.timestamp() * 1000)
        polled = messages[start : start + poll]
        with garbage_waits():
            raws = [Raw("records", 0, start, None, headers, value, appended_ms) for headers, value in polled]
            prepared = await prepare(raws, judges)
            panes = added(panes[-1:], [pane for batch in prepared.arrived for pane in batch.panes])
            state, _ = judge.observe(state, [batch.window for batch in prepared.arrived], now)
    assert state.rows_seen == rows


def _memory(random: np.random.Generator) -> Figure:
    """What the judges of a process take: as many as it keeps; those of other deployments are read again when needed."""
    columns = _columns(random, 2_000)
    profiles = [profile_of(columns | {"n00": random.normal(size=2_000)}).to_bytes() for _ in range(JUDGES)]
    process = psutil.Process()
    before = process.memory_info().rss
    judges = [Judge(ReferenceProfile.from_bytes(each), Settings()) for each in profiles]
    each = (process.memory_info().rss - before) / len(judges)
    beside = f"{each / 1024:,.0f} KiB each; {MOST_JUDGES:,} are kept, however many deployments there are"
    return Figure("monitor.judges.memory", round(each * MOST_JUDGES / 2**20), "MiB", beside)


def _single(random: np.random.Generator, content_type: str) -> Message:
    body = PredictionRecorded(
        model="bench",
        version=1,
        numbers={f"n{place:02}": value for place, value in enumerate(random.normal(size=NUMBERS).tolist())},
        texts={f"t{place}": value for place, value in enumerate(random.choice(WORDS, TEXTS).tolist())},
        score=random.random(),
    )
    event = emitted(body, SINGLE, subject="model/bench")
    if content_type == cloudevents.JSON:
        event = replace(
            event,
            content_type=content_type,
            data=MessageToJson(body, indent=None, preserving_proto_field_name=True).encode(),
        )
    return cloudevents.headers_of(event), event.data


def _rate(work: Callable[[], None], rows: int) -> float:
    """The best of five, as others on the machine can only slow it down; what was made up before is nobody's garbage."""
    gc.freeze()
    spent = []
    for _ in range(5):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return round(rows / min(spent))


def _through_kafka(folder: Path, profile: ReferenceProfile, random: np.random.Generator) -> list[Figure]:
    postgres = PostgresServer(folder / "pg", port=None)
    postgres.start()
    broker = KafkaBroker(folder / "kafka", port=free_port(), controller_port=free_port())
    running = broker.start()
    try:
        postgres.create_database("bench", "bench", "bench")
        dsn = postgres.dsn("bench", "bench", "bench")
        return asyncio.run(_read(dsn, broker.bootstrap, profile, random))
    finally:
        broker.stop(running)
        postgres.stop()


async def _read(dsn: str, bootstrap: str, profile: ReferenceProfile, random: np.random.Generator) -> list[Figure]:
    judge, figures, before = Judge(profile, Settings()), list[Figure](), 0
    for name, messages, rows in (
        ("warm", (message(random, number) for number in range(1, POLL + 1)), POLL * ROWS),
        ("columnar", (message(random, POLL + number) for number in range(1, KAFKA_BATCHES + 1)), KAFKA_BATCHES * ROWS),
        ("protobuf", (_single(random, cloudevents.PROTOBUF) for _ in range(KAFKA_SINGLES)), KAFKA_SINGLES),
    ):
        await create_topics(KafkaAccess(bootstrap), topics=(replace(RECORDS, name=name),))
        sent = await _send(bootstrap, name, messages)
        bare = rows / await _bare(bootstrap, name, sent)
        ours = rows / await _ours(dsn, bootstrap, name, judge, before + rows)
        beside = f"of a bare getmany of the same messages: {ours:,.0f} rows per CPU second beside {bare:,.0f}"
        figures += [
            Figure(f"monitor.kafka.{name}.rows_per_cpu_second", round(ours), UNIT, "the monitor's process alone"),
            Figure(f"monitor.kafka.{name}.bare", round(ours / bare, 3), TIMES, beside),
        ]
        before += rows
    return [figure for figure in figures if ".warm." not in figure.name]


async def _send(bootstrap: str, topic: str, messages: Iterable[Message]) -> int:
    """Send messages; how many they were."""
    producer, sent = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=4 * 2**20), 0
    await producer.start()
    for headers, value in messages:
        await producer.send(topic, value, headers=headers)
        sent += 1
    await producer.stop()
    return sent


async def _bare(bootstrap: str, topic: str, messages: int) -> float:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=FETCH_BYTES
    )
    await consumer.start()
    started, had = time.process_time(), 0
    while had < messages:
        polled = await consumer.getmany(timeout_ms=100, max_records=5_000)
        had += sum(map(len, polled.values()))
    spent = time.process_time() - started
    await consumer.stop()
    return spent


class _OneJudge:
    """Gives every version the same judge, as `services.monitor.clients.Judges` does from memory."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def of(self, _model: str, _version: int) -> Judge:
        return self._judge


async def _ours(dsn: str, bootstrap: str, topic: str, judge: Judge, upto: int) -> float:
    settings = MonitorSettings(
        database_dsn=SecretStr(dsn), kafka_bootstrap=bootstrap, jwks_path=Path("none"), grpc_address="", http_address=""
    )
    database = database_of(settings, SystemClock())
    await database.start()
    judges: Any = _OneJudge(judge)
    intake = Intake(NAME, topic, database, judges, kept=settings.kept_records)
    stream = RecordStream(
        intake, kafka=KafkaAccess(bootstrap), topic=topic, group=topic, session_timeout=timedelta(seconds=10)
    )

    async def all_read() -> bool:
        async with database.read() as connection:
            return bool(await connection.fetchval("SELECT sum(rows_seen) FROM watches") == upto)

    started = time.process_time()
    reading = asyncio.ensure_future(stream.run())
    while not await all_read():  # noqa: ASYNC110 - the rows are in a database, which tells nobody
        await asyncio.sleep(_LOOK_S)
    spent = time.process_time() - started
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await database.stop()
    return spent
