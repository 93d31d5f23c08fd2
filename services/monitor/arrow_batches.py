"""Batches of records as an Arrow IPC stream: `inference.recorded` with the content type of ARROW.

Each column is an input by its name, but for four: `record_id` (16 bytes, or a UUID's text), `event_time` (a timestamp,
or microseconds since 1970-01-01 UTC), `score` and `label`. Numbers of any type and text, dictionary-encoded or not, are
taken; null is a missing value. A column of lists of numbers is a vector, and is told as model servers tell of one: a
column for each of its numbers. Where the records were served stands in the schema's metadata, under the names of
`goldenpath.modelserver.v1.InferenceRecorded`: model, version, environment, epoch, arm (stable or candidate), server and
batch. Without server and batch the event's source and id name the batch.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyarrow import lib as arrow
from pyarrow import types  # type: ignore[attr-defined]  # it ships half of its types
from pyarrow.ipc import open_stream

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch, PackedColumn
from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import Invalid
from services.monitor.arrow_sizes import unpacked_bytes
from services.monitor.arrow_vectors import MOST_BYTES, is_list, numbers, vectors
from services.monitor.batches import ID_BYTES, LABEL, SCORE
from services.monitor.packed import MOST_ROWS, Batch, number_column, text_column, whole, zigzagged
from services.monitor.predictions import random_ids
from services.profile import CodedText
from services.profile.columns import Counts
from services.profile.vectors import component_of

ARROW: Final = "application/vnd.apache.arrow.stream"
RECORD_ID: Final = "record_id"
EVENT_TIME: Final = "event_time"
_ARMS: Final = {"stable": pb.ARM_STABLE, "candidate": pb.ARM_CANDIDATE}


def read(event: CloudEvent, appended_ms: int) -> Batch:
    """An event's batch.

    Args:
        event: The event.
        appended_ms: When the broker took it, milliseconds since 1970-01-01 UTC: the time of records that tell none.

    Raises:
        Invalid: it is no Arrow stream, says not where it was served, or has a column that is neither numbers nor text.
    """
    try:
        table = _table(event.data)
        told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        columns = {name: _plain(table.column(name)) for name in table.column_names}
    except (arrow.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
        raise Invalid(f"the body is no Arrow stream: {error}", where="value") from None
    ids = _ids(columns.pop(RECORD_ID, None), table.num_rows)
    times = _times(columns.pop(EVENT_TIME, None), table.num_rows, appended_ms)
    score, label = columns.pop(SCORE, None), columns.pop(LABEL, None)
    outputs = [] if score is None else [number_column(SCORE, numbers(score, SCORE))]
    outputs += [] if label is None else [text_column(LABEL, _texts(label, LABEL))]
    body = PackedBatch(
        model=told.get("model", ""),
        version=_whole(told, "version", 0),
        environment=told.get("environment", ""),
        epoch=_whole(told, "epoch", 1),
        arm=_ARMS.get(told.get("arm", "stable"), pb.ARM_UNSPECIFIED),
        server=told.get("server", f"{event.source}/{event.id}"),
        batch=_whole(told, "batch", 1),
        record_ids=ids.tobytes(),
        event_times_us=zigzagged(times),
        inputs=[packed for name, column in columns.items() for packed in _columns(name, column)],
        outputs=outputs,
    )
    _expect_distinct([column.name for column in body.inputs])
    return whole(body.SerializeToString())


def _table(data: bytes) -> Any:
    if unpacked_bytes(data) > MOST_BYTES:
        raise Invalid(f"a batch has at most {MOST_BYTES:,} bytes", where="value")
    stream: Any = open_stream(data)  # type: ignore[no-untyped-call]  # pyarrow is typed in part
    table = stream.read_all()
    if table.num_rows > MOST_ROWS:
        raise Invalid(f"a batch has at most {MOST_ROWS:,} records", where="value")
    table.validate(full=True)
    _expect_distinct(table.column_names)
    return table


def _expect_distinct(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise Invalid("two columns have the same name", where="value")


def _whole(told: dict[str, str], name: str, otherwise: int) -> int:
    text = told.get(name, "")
    if text and not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise Invalid(f"{text[:80]!r} is no whole number", where=name)
    return int(text) if text else otherwise


def _columns(name: str, column: Any) -> list[PackedColumn]:
    if is_list(column.type):
        return [number_column(component_of(name, place), each) for place, each in enumerate(vectors(column, name).T)]
    if _is_text(column.type):
        return [text_column(name, _texts(column, name))]
    return [number_column(name, numbers(column, name))]


def _plain(column: Any) -> Any:
    """A column in one piece, its text written out: each record batch may have a dictionary of its own."""
    if types.is_dictionary(column.type):
        written = [_written(chunk) for chunk in column.chunks]
        column = arrow.chunked_array(written, type=column.type.value_type)
    return column.combine_chunks()


def _written(chunk: Any) -> Any:
    """Coded values, written out, unless that would be endless: a long one that is there once may be named often."""
    if types.is_nested(chunk.type.value_type):
        raise Invalid(f"a dictionary holds {chunk.type.value_type}, where text or numbers were expected", where="value")
    if not types.is_primitive(chunk.type.value_type):
        longest = max((len(one) for one in chunk.dictionary.to_pylist() if isinstance(one, str | bytes)), default=0)
        if longest * len(chunk) > MOST_BYTES:
            raise Invalid(f"a column has at most {MOST_BYTES:,} bytes when it is written out", where="value")
    return chunk.dictionary_decode()


def _is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _texts(column: Any, name: str) -> CodedText:
    if not _is_text(column.type):
        raise Invalid(f"the column holds {column.type}, where text was expected", where=name)
    plain = column.cast(arrow.large_string()) if types.is_string_view(column.type) else column
    coded = plain.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return CodedText(codes.astype(np.int64, copy=False), tuple(coded.dictionary.to_pylist()))


def _ids(column: Any, rows: int) -> NDArray[np.uint8]:
    if column is None:
        return random_ids(rows)
    try:
        ids = b"".join(each if isinstance(each, bytes) else uuid.UUID(each).bytes for each in column.to_pylist())
    except (ValueError, TypeError, AttributeError):
        raise Invalid("an id is 16 bytes or a UUID's text", where=RECORD_ID, fix="leave the column out") from None
    if len(ids) != ID_BYTES * rows:
        raise Invalid("an id is 16 bytes or a UUID's text", where=RECORD_ID, fix="leave the column out")
    return np.frombuffer(ids, dtype=np.uint8).reshape(rows, ID_BYTES)


def _times(column: Any, rows: int, appended_ms: int) -> Counts:
    if column is None:
        return np.full(rows, appended_ms * 1000)
    kind = column.type
    if not types.is_timestamp(kind) and not types.is_integer(kind):
        raise Invalid(f"the column holds {kind}, where times were expected", where=EVENT_TIME)
    micros = column.cast(arrow.timestamp("us", kind.tz), safe=False) if types.is_timestamp(kind) else column
    told = micros.cast(arrow.int64()).fill_null(appended_ms * 1000)
    return np.asarray(told.to_numpy(zero_copy_only=False), dtype=np.int64)
