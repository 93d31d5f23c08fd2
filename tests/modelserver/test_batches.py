from __future__ import annotations

from datetime import UTC, datetime

from goldenpath.modelserver.v1 import events_pb2
from services.chassis.cloudevents import body
from services.modelserver import batches
from services.modelserver.batches import Packer
from services.modelserver.columns import Entry
from tests.modelserver.entries import INPUTS, entry


def close(*entries: Entry, lost: list[int] | None = None) -> list[batches.Batch]:
    packer = Packer("credit", 3, "production", "ab" * 32, INPUTS)
    counted = [] if lost is None else lost
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return list(packer.close(entries, now=now, dropped=lambda: 0, lost=counted.append))


def test_text_is_written_once_and_counted_by_code() -> None:
    (batch,) = close(entry(1.0, job="a"), entry(2.0, job=None), entry(3.0, job="b"), entry(4.0, job="a"))
    job = batch.body.inputs[1]
    assert (list(job.dictionary), list(job.codes)) == (["a", "b"], [0, -1, 1, 0])


def test_many_rows_become_several_batches() -> None:
    closed = close(entry(*([1.0] * 1_200)))
    assert [batch.size for batch in closed] == [500, 500, 200]
    assert [batch.body.batch for batch in closed] == [1, 2, 3]


def test_a_batch_stays_below_what_a_broker_takes() -> None:
    closed = close(*(entry(float(place), job=str(place) * 1_000) for place in range(600)))
    assert len(closed) > 1
    assert sum(batch.size for batch in closed) == 600
    assert max(batch.body.ByteSize() for batch in closed) <= batches.BATCH_BYTES
    assert [value for batch in closed for value in batch.body.inputs[0].numbers] == [float(n) for n in range(600)]


def test_a_record_that_no_batch_can_hold_is_lost_alone() -> None:
    lost: list[int] = []
    closed = close(entry(1.0), entry(2.0, job="x" * 1_000_000), entry(3.0), lost=lost)
    assert lost == [1]
    assert [value for batch in closed for value in batch.body.inputs[0].numbers] == [1.0, 3.0]


def test_the_same_batch_is_always_the_same_event() -> None:
    packer = Packer("credit", 3, "production", "ab" * 32, INPUTS)
    (batch,) = packer.close([entry(1.0)], now=datetime.now(UTC), dropped=lambda: 0, lost=lambda _: None)
    first, again = packer.event_of(batch, ""), packer.event_of(batch, "")
    assert first == again
    assert body(first, events_pb2.InferenceRecorded) == batch.body
