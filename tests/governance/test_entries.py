"""The log's encoding: fixed for ever, and never ambiguous."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from services.governance.domain.entries import Entry, content_hash, entry_of

HEADERS = st.lists(st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4)), max_size=3)
VALUES = st.none() | st.binary(max_size=6)


def test_the_encoding_is_the_documented_one() -> None:
    entry = entry_of("a.events", 3, 258, [("ce_id", b"e1"), ("empty", None)], b"body")
    inner = (
        b"\x00\x00\x00\x02"
        b"\x00\x00\x00\x05ce_id\x01\x00\x00\x00\x00\x00\x00\x00\x02e1"
        b"\x00\x00\x00\x05empty\x00"
        b"\x01\x00\x00\x00\x00\x00\x00\x00\x04body"
    )
    content = hashlib.sha256(inner).digest()
    leaf = b"\x00\x00\x00\x08a.events\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x02e1" + content
    assert entry.content_hash == content
    assert entry.leaf == leaf
    assert entry.leaf_hash == hashlib.sha256(b"\x00" + leaf).digest()


@given(HEADERS, VALUES, HEADERS, VALUES)
def test_different_events_never_share_a_digest(
    headers: list[tuple[str, bytes | None]],
    value: bytes | None,
    others: list[tuple[str, bytes | None]],
    other: bytes | None,
) -> None:
    same = (headers, value) == (others, other)
    assert (content_hash(headers, value) == content_hash(others, other)) == same


@given(
    st.tuples(st.text(max_size=3), st.integers(0, 5), st.integers(0, 5), st.text(max_size=3)),
    st.tuples(st.text(max_size=3), st.integers(0, 5), st.integers(0, 5), st.text(max_size=3)),
)
def test_different_places_never_share_a_leaf(one: tuple[str, int, int, str], two: tuple[str, int, int, str]) -> None:
    leaves = [Entry(*place, "", "", bytes(32)).leaf for place in (one, two)]
    assert (leaves[0] == leaves[1]) == (one == two)


def test_bytes_that_nobody_can_decode_have_an_entry_too() -> None:
    entry = entry_of("ingest.events", 0, 0, [("ce_id", b"\xff\x00"), ("ce_type", b"x")], None)
    assert entry.event_id == "\\xff\\x00"
    assert entry.event_type == "x"
    assert len(entry.leaf_hash) == 32


def test_of_two_headers_with_one_name_the_first_one_names_the_event() -> None:
    assert entry_of("t", 0, 0, [("ce_id", b"first"), ("ce_id", b"second")], b"").event_id == "first"
