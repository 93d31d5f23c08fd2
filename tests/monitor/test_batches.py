"""Columnar batches: what is whole, what is refused, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.chassis.errors import Invalid
from services.monitor.batches import AHEAD, check, columns_of, kept_of, newest_time, picked, texts_of
from services.profile import count, profile_of
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
    assert count(profile, columns_of(batch)) == count(profile, columns | {"score": scores})


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
        columns_of(batch)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=300_000)])
def test_a_record_from_the_future_counts_as_the_brokers_time_and_a_little(ahead: timedelta) -> None:
    appended = datetime(2026, 1, 1, tzinfo=UTC)
    batch = a_batch()
    batch.event_times_us[3] = int((appended.timestamp() + ahead.total_seconds()) * 1e6)
    assert newest_time(batch, appended) == appended + AHEAD


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
