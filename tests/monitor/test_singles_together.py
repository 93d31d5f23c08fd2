"""Single events that are read together, by numpy over their bytes, tell what each tells alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from services.chassis.cloudevents import JSON, PROTOBUF
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.chassis.testing import emitted
from services.monitor.alike import read_alike
from services.monitor.singles import read_all
from tests.monitor.test_singles import ROWS, prediction, raw_of, rows_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TELLING = st.fixed_dictionaries(
    {"model": st.sampled_from(["credit", "", "fraud"]), "version": st.integers(0, 2)},
    optional={
        "environment": TEXT,
        "epoch": st.integers(0, 2**63 - 1),
        "candidate": st.booleans(),
        "record_id": st.uuids().map(str) | st.just("6F0C8F9E-0000-4000-8000-00000000000A") | TEXT,
        "event_time": st.builds(Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 999_999_999)),
        "numbers": st.dictionaries(st.sampled_from(["age", "gains", "ü"]) | TEXT, st.floats(), max_size=4),
        "texts": st.dictionaries(st.sampled_from(["education", "town"]) | TEXT, TEXT, max_size=3),
        "score": st.floats(),
        "label": TEXT,
    },
)
EVENT = emitted(PredictionRecorded(), "prediction.recorded", subject="model/credit")


def plain_json(body: PredictionRecorded) -> bytes:
    """A prediction as most senders would write it: whole numbers as numbers, which protobuf writes as text."""
    document = json_format.MessageToDict(body, preserving_proto_field_name=True)
    return json.dumps(document | ({"epoch": body.epoch} if body.epoch else {})).encode()


WRITTEN: dict[str, Callable[[PredictionRecorded], bytes]] = {
    PROTOBUF: lambda body: body.SerializeToString(deterministic=True),
    JSON: plain_json,
}


@pytest.mark.parametrize("form", [PROTOBUF, JSON])
@settings(max_examples=200, deadline=None)
@given(
    kinds=st.lists(TELLING, min_size=1, max_size=3),
    picks=st.lists(st.integers(0, 2), min_size=40, max_size=60),
    spoiled=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 400), st.integers(0, 255)), max_size=3),
    random=st.randoms(use_true_random=False),
)
def test_events_that_are_read_together_tell_what_each_tells_alone(
    form: str, kinds: list[dict[str, Any]], picks: list[int], spoiled: list[tuple[int, int, int]], random: Random
) -> None:
    """Events of up to three layouts with other numbers, ids, times and texts each, some with a byte that is wrong."""
    bodies = [WRITTEN[form](varied(kinds[pick % len(kinds)], random)) for pick in picks]
    for row, at, byte in spoiled:
        bodies[row] = bodies[row][:at] + bytes([byte]) + bodies[row][at + 1 :]
    raws = [raw_of(replace(EVENT, data=body, content_type=form), row) for row, body in enumerate(bodies)]
    dead: list[tuple[Raw, Invalid]] = []
    died_alone: list[tuple[Raw, Invalid]] = []
    together = read_all(raws, form, dead)
    alone = [one for raw in raws for one in read_all([raw], form, died_alone)]
    assert sorted(raw.offset for raw, _ in dead) == sorted(raw.offset for raw, _ in died_alone)
    assert sorted(row for one in together for row in rows_of(one)) == sorted(
        row for one in alone for row in rows_of(one)
    )


@pytest.mark.parametrize("form", [PROTOBUF, JSON])
def test_a_place_has_the_names_that_its_own_events_tell(form: str) -> None:
    more = {"model": "fraud", "numbers": {"age": 1.0}, "texts": {}}
    bodies = [prediction(row, **more) if row % 2 else prediction(row) for row in range(ROWS)]
    raws = [raw_of(replace(EVENT, data=WRITTEN[form](body), content_type=form), row) for row, body in enumerate(bodies)]
    told = read_all(raws, form, [])
    assert {one.place.model: ({*one.numbers}, {*one.texts}) for one in told} == {
        "credit": ({"age", "gains"}, {"education"}),
        "fraud": ({"age"}, set()),
    }


def varied(kind: dict[str, Any], random: Random) -> PredictionRecorded:
    """The same fields with other values."""
    body = PredictionRecorded(**kind)
    for name in body.numbers:
        body.numbers[name] = random.choice([random.gauss(), float("nan"), float("-inf"), 0.0])
    for name in body.texts:
        body.texts[name] = random.choice(["", "college", "Zürich", "x" * random.randrange(200)])
    if len(body.record_id) == 36:
        body.record_id = str(uuid.UUID(int=random.getrandbits(128)))
    if body.HasField("event_time"):
        body.event_time.seconds = random.randrange(2**33)
        body.event_time.nanos = random.choice([0, random.randrange(10**9)])
    if body.HasField("score"):
        body.score = random.random()
    return body


def test_events_that_are_laid_out_alike_are_read_at_once_and_the_odd_one_is_left() -> None:
    bodies = [prediction(row, label="yes", texts={"education": "x" * row}) for row in range(ROWS)]
    strange = prediction(0, texts={"education": "x" * 200})
    messages = [body.SerializeToString(deterministic=True) for body in (*bodies, strange)]
    (told,), odd = read_alike(messages, np.zeros(ROWS + 1, dtype=np.int64))
    assert (told.rows, odd) == (ROWS, [ROWS])
