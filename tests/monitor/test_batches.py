"""Columnar batches: what is whole, what is refused, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import Invalid
from services.chassis.testing import emitted
from services.monitor.batches import picked, texts_of
from services.monitor.packed import AHEAD, clamped, kept_of, read, told_of, whole, zigzagged, zigzags
from services.profile import CodedText, count, profile_of
from tests.monitor.made_up import batch_of, credit

RANDOM = np.random.default_rng(1)


def a_batch() -> pb.InferenceRecorded:
    return batch_of(credit(RANDOM, 10), RANDOM.random(10))


def test_a_batch_counts_as_the_columns_that_it_was_made_from() -> None:
    columns = credit(RANDOM, 50)
    scores = RANDOM.random(50)
    profile = profile_of(columns, scores={"score": scores})
    batch = batch_of(columns, scores)
    found = read(event_of(batch))
    assert found.rows == 50
    assert count(profile, found.columns) == count(profile, columns | {"score": scores})


def event_of(batch: pb.InferenceRecorded) -> CloudEvent:
    return emitted(batch, "inference.recorded", subject="model/credit")


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(), st.integers(-1, 300), st.integers(-(2**62), 2**62)), min_size=1, max_size=300),
    pieces=st.sampled_from([1, 2]),
)
def test_whatever_a_batch_holds_it_is_read_as_the_contract_says(rows: list[Any], pieces: int) -> None:
    """Each column is packed into one piece, as everybody does, or in two, which protobuf allows."""
    numbers, codes, times = zip(*rows, strict=True)
    batch = _whole(numbers, codes, times)
    bare = pb.InferenceRecorded(model="m", version=1, server="s", batch=1, record_ids=batch.record_ids)
    half = (len(rows) + pieces - 1) // pieces
    told = bare.SerializeToString() + b"".join(_pieces(batch, [slice(0, half), slice(half, None)][:pieces]))
    event = replace(event_of(batch), data=told)
    found = read(event)
    assert np.array_equal(np.asarray(found.columns["n"]), np.array(numbers), equal_nan=True)
    assert isinstance(found.columns["c"], CodedText)
    assert found.columns["c"].codes.tolist() == list(codes)
    assert found.times_us.tolist() == list(times)
    assert told_of(found.data) == pb.InferenceRecorded.FromString(told)


def _whole(numbers: Sequence[float], codes: Sequence[int], times: Sequence[int]) -> pb.InferenceRecorded:
    batch = pb.InferenceRecorded(event_times_us=times, record_ids=bytes(16 * len(times)))
    batch.inputs.add(name="n", numbers=numbers)
    batch.inputs.add(name="c", codes=codes, dictionary=[str(place) for place in range(301)])
    return batch


def _pieces(batch: pb.InferenceRecorded, parts: list[slice]) -> Iterator[bytes]:
    """The wire of its columns, each packed in some pieces: fields that come twice add up."""
    for part in parts:
        yield pb.InferenceRecorded(event_times_us=batch.event_times_us[part]).SerializeToString()
    n, c = batch.inputs
    name = pb.Column(name="n").SerializeToString()
    yield _nested(name + b"".join(pb.Column(numbers=n.numbers[part]).SerializeToString() for part in parts))
    words = pb.Column(name="c", dictionary=c.dictionary).SerializeToString()
    yield _nested(words + b"".join(pb.Column(codes=c.codes[part]).SerializeToString() for part in parts))


def _nested(column: bytes) -> bytes:
    """A column as one of the inputs."""
    wrapped = pb.InferenceRecorded(inputs=[pb.Column()]).SerializeToString()[:-1]
    length, digits = len(column), bytearray()
    while length >= 128:
        digits.append(length & 127 | 128)
        length >>= 7
    return wrapped + bytes([*digits, length]) + column


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_whole_numbers_survive_their_zigzags(values: list[int]) -> None:
    packed_values = zigzagged(np.array(values))
    assert zigzags(packed_values, len(values), "").tolist() == values
    told = PackedBatch(event_times_us=packed_values).SerializeToString()
    assert list(pb.InferenceRecorded.FromString(told).event_times_us) == values


def _set(name: str, value: object) -> Callable[[pb.InferenceRecorded], None]:
    return lambda batch: setattr(batch, name, value)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_set("model", ""), id="no model"),
        pytest.param(_set("version", 0), id="no version"),
        pytest.param(_set("server", ""), id="no server"),
        pytest.param(_set("batch", 0), id="no number"),
        pytest.param(_set("record_ids", b""), id="no records"),
        pytest.param(_set("record_ids", b"123"), id="half an id"),
        pytest.param(lambda batch: batch.event_times_us.pop(), id="a time too few"),
        pytest.param(lambda batch: batch.inputs[0].numbers.pop(), id="a number too few"),
        pytest.param(lambda batch: batch.inputs[1].codes.append(0), id="a code too many"),
        pytest.param(lambda batch: batch.inputs[0].codes.append(0), id="numbers and codes"),
    ],
)
def test_a_batch_that_is_not_whole_is_refused(spoil: Callable[[pb.InferenceRecorded], object]) -> None:
    batch = a_batch()
    spoil(batch)
    with pytest.raises(Invalid):
        read(event_of(batch))


def test_a_code_outside_its_dictionary_is_refused() -> None:
    batch = a_batch()
    batch.inputs[1].codes[0] = 99
    with pytest.raises(Invalid):
        read(event_of(batch))


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=300_000)])
def test_a_record_from_the_future_counts_as_the_brokers_time_and_a_little(ahead: timedelta) -> None:
    appended = datetime(2026, 1, 1, tzinfo=UTC)
    batch = a_batch()
    batch.event_times_us[3] = int((appended.timestamp() + ahead.total_seconds()) * 1e6)
    times = clamped(whole(batch.SerializeToString()).times_us, appended)
    assert times.max() == int((appended + AHEAD).timestamp() * 1e6)


def test_chosen_records_of_several_batches_come_as_one() -> None:
    first, second = a_batch(), a_batch()
    columns = picked([first, second], [0, 9, 10, 19])
    ages = [*first.inputs[0].numbers, *second.inputs[0].numbers]
    schools = [*texts_of(first.inputs[1]), *texts_of(second.inputs[1])]
    assert list(columns[0].numbers) == [ages[0], ages[9], ages[10], ages[19]]
    assert texts_of(columns[1]) == [schools[0], schools[9], schools[10], schools[19]]


def test_what_is_kept_is_the_records_themselves() -> None:
    batch = a_batch()
    kept = kept_of(batch.SerializeToString())
    assert pb.InferenceRecorded.FromString(kept.inputs).inputs == batch.inputs
    assert pb.InferenceRecorded.FromString(kept.predictions).record_ids == batch.record_ids
