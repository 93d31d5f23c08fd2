"""What was served is held against the feature store's history: a planted skew is found, honest serving is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import numpy as np
import pytest
import yaml
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from goldenpath.modelserver.v1 import events_pb2 as records
from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis import instruments
from services.chassis.leases import Leases
from services.features import history_store
from services.features.history import History
from services.features.reader import Read, Reader, Wanted
from services.features.shapes import Row
from services.features.writer import Writer
from services.monitor import proving
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.proof_job import ProofJob
from services.monitor.sample_store import Kept, Sampled
from services.profile import profile_of
from tests.conftest import Database
from tests.features.repository import REPOSITORY, settings_of
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, column_of

VIEW = "customer_windows"
INPUTS = ("count_7d", "mean_7d")
CUSTOMERS = [f"c{number}" for number in range(40)]
ROWS = 200


@dataclass
class Fed:
    """A feature store, what was told into it, and records of what it gave."""

    bench: Bench
    dsn: str
    writer: Writer
    reader: Reader
    history: History
    random: np.random.Generator

    async def tell(self, rows: Sequence[Row], *, online: Sequence[Row] | None = None) -> None:
        """What the pusher does with rows; `online` is what a broken one pushes instead."""
        shape = self.writer.shapes[VIEW]
        connection = await asyncpg.connect(self.dsn)
        await history_store.prepare(connection, shape)
        await history_store.add(connection, shape, rows, self.bench.clock.now())
        await connection.close()
        await asyncio.to_thread(self.writer.write, VIEW, rows if online is None else online)

    def rows(self, moment: datetime, customers: Sequence[str] = CUSTOMERS) -> list[Row]:
        """New values of customers."""
        return [
            Row({"customer": name}, {each: float(self.random.gamma(2, 9)) for each in INPUTS}, moment)
            for name in customers
        ]

    async def serve(self, *, change: Any = 1.0, outcome: str = "", customers: Sequence[str] = CUSTOMERS) -> None:
        """Records of what the store gives now, whose second input something multiplies on the way."""
        names = [str(name) for name in self.random.choice(np.array(customers), ROWS)]
        (read,) = await asyncio.to_thread(self.reader.read, {"customer": names}, self.bench.clock.now())
        await self.bench.take(self._batch(names, read, change, outcome))

    def _batch(self, names: list[str], read: Read, change: Any, outcome: str) -> records.InferenceRecorded:
        outcomes = [outcome] * ROWS if outcome else read.outcomes
        known = sorted(set(outcomes))
        counts, means = (np.array(column, dtype=float) for column in read.columns)
        columns: dict[str, Any] = {
            "amount": self.random.gamma(2, 9, ROWS),
            "count_7d": counts,
            "mean_7d": means * change,
        }
        gave = records.FeaturesRead(
            view=VIEW,
            event_times_us=read.event_times_us,
            codes=[known.index(one) for one in outcomes],
            outcomes=known,
        )
        return batch_of(
            columns,
            self.random.beta(1, 9, ROWS),
            event_times_us=[int(self.bench.clock.now().timestamp() * 1e6)] * ROWS,
            keys=[column_of("customer", np.array(names, dtype=object))],
            features=[gave],
        )

    async def prove(self) -> list[pb.FeatureSkew]:
        """Look at everything that is kept; what was told so far."""
        self.bench.clock.advance(timedelta(minutes=1))
        async with self.bench.database.begin() as uow:
            (watch,) = await uow.proofs.present()
            found, batches = await uow.watches.get(watch), await uow.proofs.next(watch, uow.now, 1_000)
        seen = await proving.look(batches, {VIEW: (["customer"], INPUTS)}, self.history)
        async with self.bench.database.begin() as uow:
            await proving.keep(found, seen, uow)
        async with self.bench.database.begin() as uow:
            assert await uow.proofs.next(watch, uow.now, 1_000) == []
            return [signal.body.skew for signal in await uow.signals.violated(watch)]

    async def told(self) -> list[str]:
        """The types of what was emitted about data."""
        rows = await self.bench.rows("SELECT header_names, header_values FROM outbox ORDER BY id")
        types = [dict(zip(row["header_names"], row["header_values"], strict=True))["ce_type"].decode() for row in rows]
        return [one for one in types if one.startswith("data_quality")]


def _guarded(told: dict[str, Any]) -> None:
    """As the platform has it."""


def _unguarded(told: dict[str, Any]) -> None:
    """Feast's own store, which a late push overwrites."""
    told["online_store"] |= {"type": "postgres"}


@pytest.fixture
async def fed(bench: Bench, database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Fed]:
    (tmp_path / "definitions.py").write_text(REPOSITORY)
    settings = settings_of(database.dsn, tmp_path)
    said = yaml.safe_load(settings.read_text())
    getattr(request, "param", _guarded)(said)
    settings.write_text(yaml.safe_dump(said))
    random = np.random.default_rng(4)
    rows = {name: random.gamma(2, 9, 2_000) for name in ("amount", *INPUTS)}
    bench.judge = Judge(profile_of(rows, scores={"score": random.beta(1, 9, 2_000)}), Settings())
    writer = await asyncio.to_thread(Writer, settings, tmp_path)
    reader = Reader(settings, [Wanted(VIEW, "", INPUTS, ("customer",), timedelta(days=2))])
    made = Fed(bench, database.dsn, writer, reader, History(settings), random)
    await made.tell(made.rows(bench.clock.now() - timedelta(hours=1)))
    bench.clock.advance(timedelta(minutes=5))
    yield made
    for store in (reader._store, writer._store):
        await store.close()
        connection = getattr(store._get_provider().online_store, "_conn", None)
        await asyncio.to_thread(connection.close if connection else lambda: None)  # Feast's own keeps it


async def test_honest_serving_is_silent(fed: Fed) -> None:
    for _ in range(5):
        await fed.serve(customers=[*CUSTOMERS, "nobody"])
        await fed.tell(fed.rows(fed.bench.clock.now(), CUSTOMERS[::3]))  # known a moment after: it may be missed
        fed.bench.clock.advance(timedelta(minutes=1))
    await fed.serve(outcome="late")
    assert await fed.prove() == []
    (proof,) = await fed.bench.rows("SELECT (body->>'compared')::int AS compared FROM proofs")
    assert proof["compared"] == 5 * ROWS


async def test_a_planted_skew_is_found_and_told_once_with_its_view_and_inputs(fed: Fed) -> None:
    await fed.serve(change=1.01)
    (skew,) = await fed.prove()
    assert (skew.view, list(skew.inputs)) == (VIEW, ["mean_7d"])
    assert (skew.compared, skew.differing) == (ROWS, ROWS)
    assert skew.tolerance < skew.share_lower <= 1
    await fed.serve(change=1.01)
    assert await fed.prove() == [skew]
    assert await fed.told() == ["data_quality.violated"]


async def test_the_telling_of_a_skew_is_counted_and_traced(fed: Fed, spans: InMemorySpanExporter) -> None:
    counted = instruments.MONITOR_SIGNALS.labels("credit", "production", "stable", "violated")._value
    before = counted.get()
    await fed.serve(change=1.01)
    await fed.prove()
    assert counted.get() == before + 1
    assert [(span.name, span.attributes) for span in spans.get_finished_spans() if span.name.startswith("signal")] == [
        ("signal credit", {"goldenpath.model": "credit", "goldenpath.version": 1})
    ]


async def test_a_few_records_that_differ_are_borne(fed: Fed) -> None:
    for _ in range(10):
        await fed.serve()
    await fed.serve(change=np.where(np.arange(ROWS) < 3, 2.0, 1.0))
    assert await fed.prove() == []
    (proof,) = await fed.bench.rows("SELECT (body->>'differing')::int AS differing FROM proofs")
    assert proof["differing"] == 3


@pytest.mark.parametrize(
    "fed", [pytest.param(_guarded, id="guarded"), pytest.param(_unguarded, id="Feast's own")], indirect=True
)
async def test_a_store_that_a_late_push_overwrote_is_found(fed: Fed, request: pytest.FixtureRequest) -> None:
    now = fed.bench.clock.now()
    await fed.tell(fed.rows(now))
    await fed.tell(fed.rows(now - timedelta(minutes=30)))
    fed.bench.clock.advance(timedelta(minutes=5))
    await fed.serve()
    expected = {"guarded": [], "Feast's own": [VIEW]}[request.node.callspec.id]
    assert [skew.view for skew in await fed.prove()] == expected


async def test_a_store_that_nobody_fills_any_more_is_found(fed: Fed) -> None:
    await fed.tell(fed.rows(fed.bench.clock.now()), online=[])
    fed.bench.clock.advance(timedelta(minutes=5))
    await fed.serve()
    assert [list(skew.inputs) for skew in await fed.prove()] == [list(INPUTS)]


async def test_an_entity_that_the_history_knows_and_the_store_doesnt_is_found(fed: Fed) -> None:
    new = [f"n{number}" for number in range(40)]
    await fed.tell(fed.rows(fed.bench.clock.now() - timedelta(hours=1), new), online=[])
    fed.bench.clock.advance(timedelta(minutes=5))
    await fed.serve(customers=new)
    assert [skew.differing for skew in await fed.prove()] == [ROWS]


async def test_a_key_or_a_time_that_no_history_has_hides_none_of_the_other_records(fed: Fed) -> None:
    await fed.serve(change=1.01)
    (row,) = await fed.bench.rows("SELECT id, inputs FROM sampled_batches")
    body = records.InferenceRecorded.FromString(row["inputs"])
    body.event_times_us[0] = 2**62
    body.keys[0].dictionary[0] = "a\0b"
    async with fed.bench.database.begin() as uow:
        await uow.connection.execute(
            "UPDATE sampled_batches SET inputs = $2 WHERE id = $1", row["id"], body.SerializeToString()
        )
    (skew,) = await fed.prove()
    assert ROWS / 2 < skew.compared < ROWS


@pytest.mark.parametrize("key", [float("nan"), float("inf"), 1e300, None], ids=["nan", "inf", "huge", "none"])
def test_what_can_not_be_a_key_is_said_to_be_none(key: float | None) -> None:
    class Whole:
        shapes: ClassVar[dict[str, Any]] = {}

        def key(self, _view: str, _name: str, text: str | float) -> int:
            return int(text)

    history: Any = Whole()
    with pytest.raises((ValueError, OverflowError)):
        proving._key(history, VIEW, "customer", key)
    assert proving._key(history, VIEW, "customer", 7.0) == 7


async def test_what_can_not_be_proven_is_passed_over_and_holds_up_no_other_version(fed: Fed) -> None:
    class Broken(ProofJob):
        async def _views_of(self, _model: str, version: int) -> Any:
            return {VIEW: (["customer"], INPUTS)} if version == 1 else {VIEW: None}

    await fed.serve(change=1.01)
    broken = records.InferenceRecorded.FromString((await fed.bench.rows("SELECT inputs FROM sampled_batches"))[0][0])
    async with fed.bench.database.begin() as uow:
        other = await uow.watches.begin("credit", "production", "candidate", 2, 1, uow.now)
        kept = Kept(b"", broken.SerializeToString())
        await uow.records.keep(other.id, [Sampled(kept, 1, uow.now)], at=uow.now, older_than=0)
    fed.bench.clock.advance(timedelta(minutes=1))
    leases = Leases(fed.bench.database, duration=timedelta(minutes=10))
    lease = await leases.acquire("proof")
    assert lease
    registry: Any = None
    job = Broken(fed.bench.database, leases, registry, None)
    assert await job.round(fed.history, lease)
    assert not await job.round(fed.history, lease)
    assert await fed.told() == ["data_quality.violated"]
