"""Whatever anybody writes to a topic: reading it ends in an event or in Invalid."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.ingest.v1.events_pb2 import DatasetDocumented, OutcomeRecorded, ProjectStarted
from services.chassis.cloudevents import (
    JSON,
    LONGEST_ATTRIBUTE,
    NO_TEXT,
    STRUCTURED,
    CloudEvent,
    body,
    check_finite,
    headers_of,
    read,
)
from services.chassis.errors import Invalid
from tests.chassis.kit import event
from tests.chassis.test_cloudevents import a_structured

ANY_HEADER = st.tuples(
    st.sampled_from([f"ce_{name}" for name in ("specversion", "id", "source", "type", "time", "sequence", "subject")])
    | st.just("content-type")
    | st.text(max_size=12),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"1.0", b"2026-03-01T12:00:00Z", b"7", JSON.encode(), STRUCTURED.encode(), b""]),
        st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(headers=st.lists(ANY_HEADER, max_size=12), value=st.none() | st.binary(max_size=60))
def test_any_headers_and_bytes_are_an_event_or_invalid(headers: list[tuple[str, bytes]], value: bytes | None) -> None:
    assert is_event_or_invalid(headers, value)


@given(document=st.dictionaries(st.sampled_from([*a_structured(), "data_base64", "sequence"]), ANY_JSON) | ANY_JSON)
def test_any_structured_json_is_an_event_or_invalid(document: object) -> None:
    value = json.dumps(document).encode()

    assert is_event_or_invalid([("content-type", STRUCTURED.encode())], value)


@given(given_=ANY_JSON)
def test_any_json_in_a_valid_event_is_a_body_or_invalid(given_: object) -> None:
    value = json.dumps(a_structured(data=given_, dataschema="")).encode()

    assert is_event_or_invalid([("content-type", STRUCTURED.encode())], value)


@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_body_or_invalid(data: bytes) -> None:
    written = event("credit", data=data, dataschema="")

    assert is_event_or_invalid(headers_of(written), data)


@given(
    name=st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_sequence", "content-type"]),
    again=st.lists(st.sampled_from([b"", b"7", b"2026-03-01T12:00:00Z", JSON.encode(), b"\xff\xfe"]), max_size=3),
)
def test_a_header_that_comes_again_is_an_event_or_invalid(name: str, again: list[bytes]) -> None:
    written = event("credit", sequence=1)
    found = [*headers_of(written), *((name, value) for value in again)]

    assert is_event_or_invalid(found, written.data)


@given(
    times=st.integers(1, 3_000), unit=st.sampled_from([b"x", b"\xff", b"\xc3\xa4", b"0", b"9", b"[", b'{"a":', b"\x00"])
)
@pytest.mark.parametrize("mode", ["ce_id", "ce_subject", "ce_sequence", "ce_source", "content-type", "x-of-others"])
def test_a_header_without_end_is_an_event_or_invalid(mode: str, times: int, unit: bytes) -> None:
    written = event("credit", sequence=1)
    kept = [header for header in headers_of(written) if header[0] != mode]

    assert is_event_or_invalid([*kept, (mode, unit * times)], written.data)


@given(value=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")))
@pytest.mark.parametrize("content_type", [STRUCTURED, f"{STRUCTURED}; charset=utf-16", JSON, "application/json; x"])
def test_any_bytes_of_any_content_type_are_an_event_or_invalid(content_type: str, value: bytes) -> None:
    written = [header for header in headers_of(event("credit")) if header[0] != "content-type"]

    assert is_event_or_invalid([*written, ("content-type", content_type.encode())], value)


@given(number=st.integers(0, 5_000), digits=st.sampled_from(["7", "-7", "7e9999", "1" * 5_000, "0.1", "NaN"]))
def test_a_structured_event_of_large_numbers_and_much_data_is_an_event_or_invalid(number: int, digits: str) -> None:
    whole = json.dumps(a_structured(sequence="%", data="#"))
    value = whole.replace('"%"', digits).replace('"#"', "[" * number + digits + "]" * number)

    assert is_event_or_invalid([("content-type", STRUCTURED.encode())], value.encode())


@given(
    names=st.lists(st.sampled_from(["id", "source", "type", "subject", "actor"]), min_size=1),
    text=st.text(min_size=1, max_size=LONGEST_ATTRIBUTE).filter(lambda text: not NO_TEXT.search(text)),
)
def test_whatever_text_an_event_is_written_with_it_is_read_with(names: list[str], text: str) -> None:
    written = event("credit", sequence=1, **dict.fromkeys(names, text))

    assert read(headers_of(written), written.data) == written


def is_event_or_invalid(headers: list[tuple[str, bytes]], value: bytes | None) -> bool:
    """Reading ends well or in Invalid; whatever else is raised fails the test."""
    try:
        found = read(headers, value)
        headers_of(found)
        assert found.time.tzinfo is UTC
        assert isinstance(found.time, datetime)
        for schema in (ProjectStarted, OutcomeRecorded, DatasetDocumented):
            read_body(found, schema)
    except Invalid as error:
        return bool(error.what)
    return True


def read_body(found: CloudEvent, schema: Any) -> None:
    with suppress(Invalid):
        check_finite(body(found, schema))
