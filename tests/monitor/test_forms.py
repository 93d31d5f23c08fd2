"""What an event is at a glance: looked at by itself, and many together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.cloudevents import JSON, PROTOBUF, Headers
from services.monitor.forms import OTHER, form_of, shared_form

_TOLD = {"ce_specversion": b"1.0", "ce_type": b"prediction.recorded", "content-type": PROTOBUF.encode()}
_SCHEMA = {"ce_dataschema": b"goldenpath.ingest.v1.PredictionRecorded"}


def event(*, number: int = 0, extra: dict[str, bytes] | None = None, without: str = "") -> Headers:
    made = _TOLD | {"ce_id": b"%d" % number, "ce_source": b"till/%d" % number, "ce_time": b"2026"} | (extra or {})
    return [(name, value) for name, value in made.items() if name != without]


_EVENTS = st.builds(
    event,
    number=st.integers(0, 3),
    extra=st.sampled_from([{}, _SCHEMA, {"ce_dataschema": b"other"}, {"content-type": JSON.encode()}, {"x": b""}]),
    without=st.sampled_from(["", "", "", "ce_id", "ce_type", "ce_time"]),
)
_POLLS = st.one_of(st.lists(_EVENTS, min_size=1, max_size=4), _EVENTS.map(lambda made: [made] * 3))


@given(_POLLS)
def test_what_events_share_is_what_each_of_them_is(events: list[Headers]) -> None:
    assert {shared_form(events)} in ({form_of(each) for each in events}, {OTHER})


def test_ids_sources_and_times_are_each_events_own() -> None:
    assert shared_form([event(number=number, extra=_SCHEMA) for number in range(3)]) == PROTOBUF


@pytest.mark.parametrize(
    "odd",
    [
        event(extra={"content-type": JSON.encode()}),
        event(extra={"ce_type": b"unknown"}),
        event(without="ce_id"),
        event(without="ce_id", extra={"x": b"1"}),
        event(extra=_SCHEMA),
        [],
    ],
)
def test_one_that_is_laid_out_apart_is_looked_at_by_itself(odd: Headers) -> None:
    assert shared_form([event(), odd, event()]) == OTHER
