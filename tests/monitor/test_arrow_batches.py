"""Batches as Arrow streams: they count as the same columns in protobuf do."""

from __future__ import annotations

import importlib
import io
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.monitor import arrow_batches, batches, queries
from services.monitor.arrow_batches import ARROW, read
from services.monitor.arrow_sizes import unpacked_bytes
from services.monitor.domain.panes import cut
from services.monitor.intake import Read
from services.monitor.packed import told_of
from services.monitor.pane_store import Panes
from services.profile import count, empty, profile_of
from services.profile.columns import numbers_of
from services.profile.vectors import with_numbers
from tests.monitor.conftest import Bench
from tests.monitor.made_up import credit
from tests.monitor.test_intake import replica

pa: Any = importlib.import_module("pyarrow")  # it is typed in part only
ipc: Any = importlib.import_module("pyarrow.ipc")
RANDOM = np.random.default_rng(5)
ROWS = 60
COLUMNS = credit(RANDOM, ROWS)
SCORES = RANDOM.beta(1, 9, ROWS)
NOW_MS = 1_780_000_000_000
SERVED = {"model": "credit", "version": "1"}


def event_of(columns: dict[str, Any], *, served: dict[str, Any] | None = None, pieces: int = 1) -> CloudEvent:
    """A stream of the columns, in some record batches."""
    table = pa.table(columns).replace_schema_metadata(SERVED if served is None else served)
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table, max_chunksize=-(-table.num_rows // pieces))
    return CloudEvent(
        type="inference.recorded",
        source="somewhere",
        subject="model/credit",
        dataschema="",
        data=sink.getvalue(),
        content_type=ARROW,
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )


def told() -> dict[str, Any]:
    return {name: np.asarray(column) for name, column in COLUMNS.items()} | {"score": SCORES}


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_stream_counts_as_the_columns_that_it_was_made_from(pieces: int) -> None:
    batch = read(event_of(told(), pieces=pieces), NOW_MS)
    profile = profile_of(COLUMNS, scores={"score": SCORES})
    assert batch.rows == ROWS
    assert count(profile, batch.columns) == count(profile, COLUMNS | {"score": SCORES})
    assert set(batch.times_us.tolist()) == {NOW_MS * 1000}


def test_text_may_come_in_dictionaries_that_differ_from_batch_to_batch_and_hold_null() -> None:
    first = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["Rome", None]))
    second = pa.DictionaryArray.from_arrays(pa.array([1, 0, 0], pa.int8()), pa.array(["Oslo", "Rome"]))
    table = pa.table({"town": pa.chunked_array([first, second])}).replace_schema_metadata(SERVED)
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    told_again = told_of(read(replace_data(sink.getvalue()), NOW_MS).data)
    assert batches.texts_of(told_again.inputs[0]) == ["Rome", None, None, "Rome", "Oslo", "Oslo"]


def replace_data(data: bytes) -> CloudEvent:
    return CloudEvent(
        type="inference.recorded",
        source="somewhere",
        subject="",
        dataschema="",
        data=data,
        content_type=ARROW,
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(pa.array([1, None, 3], pa.int32()), [1.0, np.nan, 3.0], id="integers with null"),
        pytest.param(pa.array([True, None, False]), [1.0, np.nan, 0.0], id="booleans"),
        pytest.param(pa.array([1.5, float("nan"), float("inf")], pa.float32()), [1.5, np.nan, np.inf], id="floats"),
        pytest.param(pa.array([1.0, None, -0.0], pa.float64()), [1.0, np.nan, 0.0], id="doubles with null"),
    ],
)
def test_numbers_of_any_type_are_taken_and_null_is_missing(values: Any, expected: list[float]) -> None:
    batch = read(event_of({"n": values}), NOW_MS)
    assert np.array_equal(np.asarray(batch.columns["n"]), np.array(expected), equal_nan=True)


VECTORS = [[1.0, 2.0, 3.0], None, [4.0, None, 6.0], [7.0, 8.0, 9.0]]


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 3), pa.list_(pa.int8())],
    ids=["lists", "large lists", "lists of three", "lists of whole numbers"],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_lists_of_numbers_are_vectors_as_model_servers_tell_of_them(kind: Any, pieces: int) -> None:
    batch = read(event_of({"text": pa.array(VECTORS, kind), "age": [1, 2, 3, 4]}, pieces=pieces), NOW_MS)
    assert list(batch.columns) == ["text[0]", "text[1]", "text[2]", "age"]
    held = np.array([batch.columns[f"text[{place}]"] for place in range(3)]).T
    nothing = float("nan")
    expected = [[1.0, 2.0, 3.0], [nothing] * 3, [4.0, nothing, 6.0], [7.0, 8.0, 9.0]]
    assert np.array_equal(held, expected, equal_nan=True)


def test_a_stream_of_embeddings_counts_as_the_vectors_that_it_was_made_from() -> None:
    embeddings = np.random.default_rng(5).normal(size=(300, 8))
    profile = profile_of({"text": embeddings})
    batch = read(event_of({"text": pa.array(embeddings.tolist())}, pieces=3), NOW_MS)
    (pane,) = cut(profile, batch.columns, batch.times_us)
    assert pane.window == count(profile, with_numbers(profile.vectors, {"text": embeddings}))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        pytest.param({"text": [[1.0], [1.0, 2.0]]}, "1 and 2 numbers", id="of two lengths"),
        pytest.param({"text": pa.array([None, None], pa.list_(pa.float64()))}, "no numbers", id="none at all"),
        pytest.param({"text": [[], []]}, "0 numbers", id="empty ones"),
        pytest.param({"text": [[0.0] * 4_097]}, "4097 numbers", id="too long"),
        pytest.param({"text": [["a"], ["b"]]}, "numbers, text or vectors", id="of text"),
        pytest.param({"text": [[[1.0]], [[2.0]]]}, "numbers, text or vectors", id="of lists"),
        pytest.param({"text": [[1.0]], "text[0]": [1.0]}, "the same name", id="beside its own number"),
        pytest.param({"text": [[1.0] * 4_096] + [None] * 10_000}, "written out", id="endless when written out"),
    ],
)
def test_lists_that_are_no_vectors_are_refused_in_words(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read(event_of(columns), NOW_MS)


def test_times_ids_score_and_label_are_told_by_their_names() -> None:
    ids = [uuid.uuid4(), uuid.uuid4()]
    when = [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=UTC)]
    columns = {
        "record_id": pa.array([str(each) for each in ids]),
        "event_time": pa.array(when, pa.timestamp("ns", "Europe/Oslo")),
        "score": [0.1, 0.9],
        "label": ["no", "yes"],
        "n": [1, 2],
    }
    batch = read(event_of(columns), NOW_MS)
    body = told_of(batch.data)
    assert batches.ids_of(body) == ids
    assert batch.times_us.tolist() == [int(each.timestamp() * 1e6) for each in when]
    assert batches.scores_of(body) == [0.1, 0.9]
    assert batches.labels_of(body) == ["no", "yes"]
    assert [column.name for column in body.inputs] == ["n"]


@pytest.mark.parametrize(
    ("columns", "served"),
    [
        pytest.param({"n": [1.0]}, {}, id="served nowhere"),
        pytest.param({"n": [1.0]}, {"model": "credit", "version": "one"}, id="a version in words"),
        pytest.param({"n": [1.0]}, {"model": b"\xff", "version": "1"}, id="a model whose name is no text"),
        pytest.param({"n": pa.array([], pa.float64())}, SERVED, id="no records"),
        pytest.param({"n": pa.array([{"x": 1.0}])}, SERVED, id="structs"),
        pytest.param({"n": pa.array([datetime(2026, 1, 1, tzinfo=UTC)])}, SERVED, id="times as an input"),
        pytest.param({"n": [1.0], "record_id": ["x"]}, SERVED, id="no UUID"),
        pytest.param({"n": [1.0], "record_id": [b"short"]}, SERVED, id="a short id"),
        pytest.param({"n": [1.0], "event_time": ["noon"]}, SERVED, id="a time in words"),
        pytest.param({"n": [1.0], "label": [7]}, SERVED, id="a label that is a number"),
        pytest.param({"n": [1.0], "score": ["high"]}, SERVED, id="a score that is text"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(columns: dict[str, Any], served: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read(event_of(columns, served=served), NOW_MS)


def packed_stream(codec: str | None, *columns: Any) -> bytes:
    """A stream of columns, compressed or not."""
    table = pa.table({f"c{place}": column for place, column in enumerate(columns)}).replace_schema_metadata(SERVED)
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression=codec)) as stream:
        stream.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_a_streams_size_is_known_before_it_is_unpacked(codec: str | None) -> None:
    town = pa.array(["Rome", "Oslo", None] * 1_000).dictionary_encode()
    data = packed_stream(codec, np.zeros(3_000), RANDOM.random(3_000), town)
    held = [buffer.size for part in (town.indices, town.dictionary) for buffer in part.buffers() if buffer]
    assert sum(held) + 2 * 24_000 <= unpacked_bytes(data) <= sum(held) + 2 * 24_000 + 64 * 9  # each is padded to 64
    assert read(replace_data(data), NOW_MS).rows == 3_000


def often(values: Any) -> Any:
    """A column in which the first of some values is named 2,000 times."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000, dtype=np.int32)), values)


@pytest.fixture
def allocated() -> Iterator[Any]:
    """A pool that counts what Arrow allocates from it, once it is set."""
    usual = pa.default_memory_pool()
    yield pa.proxy_memory_pool(usual)
    pa.set_memory_pool(usual)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(np.zeros(2_000_000), id="numbers"),
        pytest.param(pa.array(["x" * 16_000_000]).dictionary_encode(), id="a dictionary's text"),
        pytest.param(pa.array(["x" * 6_000] * 2_000).dictionary_encode(), id="a text that is named often"),
        pytest.param(often(pa.array([b"x" * 6_000])), id="bytes that are named often"),
        pytest.param(often(pa.array([[0.0] * 1_000])), id="a list that is named often"),
        pytest.param(often(pa.array([{"a": "x" * 6_000}])), id="a struct that is named often"),
    ],
)
def test_a_small_stream_that_would_unpack_to_a_huge_one_takes_no_memory(
    column: Any, allocated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_batches, "MOST_BYTES", 8_000_000)
    data = packed_stream("zstd", column)
    assert len(data) < 100_000
    pa.set_memory_pool(allocated)
    with pytest.raises(Invalid, match=r"bytes|a dictionary holds"):
        read(replace_data(data), NOW_MS)
    assert allocated.max_memory() < 100_000


def test_decimals_that_are_coded_are_numbers() -> None:
    coded = pa.array([Decimal("1.5"), None, Decimal("2.5")]).dictionary_encode()
    column = numbers_of(read(replace_data(packed_stream(None, coded)), NOW_MS).columns["c0"], "c0")
    assert np.array_equal(column, [1.5, np.nan, 2.5], equal_nan=True)


def test_a_declared_size_below_nothing_hides_no_huge_one(allocated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_batches, "MOST_BYTES", 8_000_000)
    before, declared, after = packed_stream("zstd", np.zeros(2_000_000), np.zeros(2_000_000)).rpartition(
        struct.pack("<q", 16_000_000)
    )
    assert declared
    pa.set_memory_pool(allocated)
    with pytest.raises(Invalid):
        read(replace_data(before + struct.pack("<q", -15_900_000) + after), NOW_MS)
    assert allocated.max_memory() < 100_000


@pytest.mark.parametrize("cut", [0, 3, 100, -20])
def test_a_stream_that_was_cut_off_is_refused_or_whole(cut: int) -> None:
    data = event_of(told()).data[:cut]
    with pytest.raises(Invalid):
        read(replace_data(data), NOW_MS)


async def test_streams_go_the_way_of_all_batches_and_one_that_is_broken_dies_alone(bench: Bench) -> None:
    events = [event_of(told()), replace_data(b"nonsense"), event_of(told(), pieces=3)]
    raws = [
        Raw("records", 0, offset, None, headers_of(event), event.data, NOW_MS) for offset, event in enumerate(events)
    ]
    intake = replica(bench)
    await intake.places([0])
    assert await intake.take(Read(0, 0, raws)) == [[False, True, False]]
    async with bench.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        panes = await Panes(connection).all(watch.id, bench.judge.profile)
    total = sum((pane.window for pane in panes), start=empty(bench.judge.profile))
    once = count(bench.judge.profile, COLUMNS | {"score": SCORES})
    assert total == once + once
