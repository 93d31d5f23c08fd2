"""Columnar batches: what is whole, what is refused, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.chassis.errors import Invalid
from services.monitor.batches import AHEAD, check, columns_of, kept_of, picked, texts_of, times_of
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
    assert check(batch) == 50
    assert count(profile, columns_of(batch, packed(batch))) == count(profile, columns | {"score": scores})


def packed(batch: pb.InferenceRecorded) -> PackedBatch:
    return PackedBatch.FromString(batch.SerializeToString())


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(), st.integers(-1, 300), st.integers(-(2**62), 2**62)), min_size=1, max_size=300),
    whole=st.booleans(),
)
def test_whatever_a_batch_holds_it_is_read_as_the_contract_says(rows: list[Any], *, whole: bool) -> None:
    """`whole`: packed into one piece, as everybody does; else in two, which protobuf allows."""
    numbers, codes, times = zip(*rows, strict=True)
    batch = _whole(numbers, codes, times)
    last_piece = 0 if whole else (len(rows) + 1) // 2  # it is what stays of several
    bare = packed(_whole(numbers[last_piece:], codes[last_piece:], times[last_piece:]))
    columns = columns_of(batch, bare)
    assert np.array_equal(np.asarray(columns["n"]), np.array(numbers), equal_nan=True)
    assert isinstance(columns["c"], CodedText)
    assert columns["c"].codes.tolist() == list(codes)
    assert times_of(batch, bare, datetime(2026, 1, 1, tzinfo=UTC)).tolist() == [
        min(max(each, 0), LATEST) for each in times
    ]


def _whole(numbers: Sequence[float], codes: Sequence[int], times: Sequence[int]) -> pb.InferenceRecorded:
    batch = pb.InferenceRecorded(event_times_us=times)
    batch.inputs.add(name="n", numbers=numbers)
    batch.inputs.add(name="c", codes=codes, dictionary=[str(place) for place in range(301)])
    return batch


LATEST = int((datetime(2026, 1, 1, tzinfo=UTC) + AHEAD).timestamp() * 1e6)


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
        check(batch)


def test_a_code_outside_its_dictionary_is_refused() -> None:
    batch = a_batch()
    batch.inputs[1].codes[0] = 99
    with pytest.raises(Invalid):
        columns_of(batch, packed(batch))


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=300_000)])
def test_a_record_from_the_future_counts_as_the_brokers_time_and_a_little(ahead: timedelta) -> None:
    appended = datetime(2026, 1, 1, tzinfo=UTC)
    batch = a_batch()
    batch.event_times_us[3] = int((appended.timestamp() + ahead.total_seconds()) * 1e6)
    times = times_of(batch, packed(batch), appended)
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
    kept = kept_of(batch)
    assert pb.InferenceRecorded.FromString(kept.inputs).inputs == batch.inputs
    assert pb.InferenceRecorded.FromString(kept.predictions).record_ids == batch.record_ids
