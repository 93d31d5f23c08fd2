"""Single events of one prediction each, gathered into columnar batches: one form for all that comes after.

Events of one poll that were served in the same place make a batch, or a few where they were told in different forms.
Its name is where the first event of the poll stands on the topic, so the same events make the same batches whichever
replica reads them. What an event leaves out is a missing value.

Events in protobuf are read together where they are laid out alike (`alike`), those in JSON one by one into a typed
struct, with a field for each name that the first of its kind tells: half the cost of a dictionary. Whatever that
doesn't understand is read as protobuf says, at ten times the cost, and so is what is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from goldenpath.ingest.v1.events_pb2 import PredictionRecorded
from services.chassis import cloudevents
from services.chassis.cloudevents import JSON, CloudEvent
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.monitor import places
from services.monitor.alike import WORTH, read_alike
from services.monitor.batches import ID_BYTES
from services.monitor.predictions import Predictions, Served, random_ids
from services.profile import CodedText
from services.profile.columns import Numbers, coded

V = TypeVar("V")
_NAN: Final = float("nan")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_UInt32 = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Told(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """`PredictionRecorded`, as JSON tells it where it is written plainly."""

    model: str = ""
    version: _UInt32 = 0
    environment: str = ""
    epoch: _Epoch = 0
    candidate: bool = False
    record_id: str = ""
    event_time: _Time | None = None
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    score: float | None = None
    label: str = ""


_Decode = Callable[[bytes], Told]
_DECODER: Final = msgspec.json.Decoder(Told)
_NOT_PLAIN: Final = (msgspec.DecodeError, UnicodeDecodeError)
_MOST_KINDS: Final = 4  # of events in a poll; whoever tells other names each time gains nothing
_MOST_NAMES: Final = 1_000  # of a kind that gets a decoder of its own
_KINDS_KEPT: Final = 32


def read_all(raws: Sequence[Raw], form: str, dead: list[tuple[Raw, Invalid]]) -> list[Predictions]:
    """Read events of one form; those that make no sense are added to the dead."""
    if form == JSON:
        return _read_json(raws, dead)
    whole = [raw for raw in raws if raw.value is not None]
    appended_ms = np.array([raw.appended_ms for raw in whole], dtype=np.int64)
    found, odd = read_alike([raw.value or b"" for raw in whole], appended_ms * 1000)
    others = [raw for raw in raws if raw.value is None]
    return [*found, *_read_singly([*(whole[place] for place in odd), *others], form, dead)]


def read(event: CloudEvent) -> Told:
    """An event's body.

    Raises:
        Invalid: it isn't a prediction.
    """
    body = cloudevents.body(event, PredictionRecorded)
    return Told(
        model=body.model,
        version=body.version,
        environment=body.environment,
        epoch=body.epoch,
        candidate=body.candidate,
        record_id=body.record_id,
        event_time=places.moment_of(body.event_time, "event_time") if body.HasField("event_time") else None,
        numbers=dict(body.numbers),
        texts=dict(body.texts),
        score=body.score if body.HasField("score") else None,
        label=body.label,
    )


def columns_of(raws: Sequence[Raw], all_told: Sequence[Told], dead: list[tuple[Raw, Invalid]]) -> list[Predictions]:
    """Predictions as columns, those of a place in the order in which they stand on the topic.

    Those that name no model or version, or whose id isn't a UUID, are added to the dead.
    """
    groups: dict[tuple[str, int, str, int, bool], list[tuple[Raw, Told, bytes]]] = {}
    for raw, told in zip(raws, all_told, strict=True):
        place = (told.model, told.version, told.environment, told.epoch or 1, told.candidate)
        try:
            if place not in groups:
                places.check(*place[:4])
            record_id = _id_of(told)
        except Invalid as error:
            dead.append((raw, error))
        else:
            groups.setdefault(place, []).append((raw, told, record_id))
    return [_columns(Served(*place), rows) for place, rows in groups.items()]


def _read_json(raws: Sequence[Raw], dead: list[tuple[Raw, Invalid]]) -> list[Predictions]:
    found: list[Predictions] = []
    for _ in range(_MOST_KINDS):
        if len(raws) < WORTH:
            break
        decode, fit, all_told, others = _decoder_like(raws[0].value or b""), list[Raw](), list[Told](), list[Raw]()
        for raw in raws:
            try:
                all_told.append(decode(raw.value or b""))
            except _NOT_PLAIN:
                others.append(raw)
            else:
                fit.append(raw)
        found += columns_of(fit, all_told, dead)
        raws = others
    return found + _read_singly(raws, JSON, dead)


def _decoder_like(event: bytes) -> _Decode:
    """What reads events that tell no other names than this one."""
    try:
        told = _DECODER.decode(event)
        return _decoder(tuple(told.numbers), tuple(told.texts))
    except (msgspec.DecodeError, ValueError):  # not written plainly, or a name that no struct takes
        return _DECODER.decode


@lru_cache(_KINDS_KEPT)
def _decoder(numbers: tuple[str, ...], texts: tuple[str, ...]) -> _Decode:
    if len(numbers) + len(texts) > _MOST_NAMES:
        return _DECODER.decode
    structs = {"numbers": _struct(numbers, float, _NAN), "texts": _struct(texts, str, None)}
    fields = [(kind, struct, msgspec.field(default_factory=struct)) for kind, struct in structs.items()]
    alike: Any = msgspec.defstruct("Alike", fields, bases=(Told,), frozen=True, gc=False, forbid_unknown_fields=True)
    decode: _Decode = msgspec.json.Decoder(alike).decode
    return decode


def _struct(names: tuple[str, ...], type_: type, missing: object) -> type[msgspec.Struct]:
    """A field per name, whatever the name."""
    renamed = {f"_{place}": name for place, name in enumerate(names)}
    fields = [(field, type_, missing) for field in renamed]
    return msgspec.defstruct("Named", fields, rename=renamed, frozen=True, gc=False, forbid_unknown_fields=True)


def _read_singly(raws: Iterable[Raw], form: str, dead: list[tuple[Raw, Invalid]]) -> list[Predictions]:
    whole: list[Raw] = []
    all_told: list[Told] = []
    for raw in raws:
        try:
            all_told.append(_told(raw, form))
        except Invalid as error:
            dead.append((raw, error))
        else:
            whole.append(raw)
    return columns_of(whole, all_told, dead)


def _told(raw: Raw, form: str) -> Told:
    if form == JSON and raw.value:
        try:
            return _DECODER.decode(raw.value)
        except _NOT_PLAIN:
            pass  # protobuf's own JSON knows more ways to write it, and says what is wrong
    return read(cloudevents.read(raw.headers, raw.value))


def _id_of(told: Told) -> bytes:
    """A record's id; nothing where it has none."""
    if not told.record_id:
        return b""
    try:
        return uuid.UUID(told.record_id).bytes
    except ValueError:
        raise Invalid(f"{told.record_id[:80]!r} is no UUID", where="record_id", fix="leave it out") from None


def _columns(place: Served, rows: Sequence[tuple[Raw, Told, bytes]]) -> Predictions:
    raws, all_told, ids = zip(*rows, strict=True)
    scores = [_NAN if told.score is None else told.score for told in all_told]
    labels = [told.label or None for told in all_told]
    return Predictions(
        place=place,
        ids=_ids(ids),
        times_us=np.array([_time_us(*each) for each in zip(raws, all_told, strict=True)], dtype=np.int64),
        numbers=_numbers([told.numbers for told in all_told]),
        texts=_texts([told.texts for told in all_told]),
        score=np.array(scores, dtype=np.float64),
        label=coded(labels) if any(labels) else None,
    )


def _ids(told: Sequence[bytes]) -> NDArray[np.uint8]:
    """Ids, shape (rows, 16): those that were told, and fresh ones."""
    ids = random_ids(len(told))
    rows = [row for row, each in enumerate(told) if each]
    if rows:
        ids[rows] = np.frombuffer(b"".join(told), dtype=np.uint8).reshape(-1, ID_BYTES)
    return ids


def _time_us(raw: Raw, told: Told) -> int:
    return raw.appended_ms * 1000 if told.event_time is None else (told.event_time - _EPOCH) // _US


def _numbers(rows: Sequence[Any]) -> Mapping[str, Numbers]:
    names, values = _alike(rows)
    if names is None:
        return _Asked(lambda name: np.array([row.get(name, _NAN) for row in rows], dtype=np.float64), rows)
    told = np.fromiter(chain.from_iterable(values), dtype=np.float64, count=len(rows) * len(names))
    columns = np.ascontiguousarray(told.reshape(len(rows), len(names)).T)
    return {name: each for name, each in zip(names, columns, strict=True) if not np.isnan(each).all()}


def _texts(rows: Sequence[Any]) -> Mapping[str, CodedText]:
    names, values = _alike(rows)
    if names is None:
        return _Asked(lambda name: coded(row.get(name) for row in rows), rows)
    columns = {name: coded(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}
    return {name: column for name, column in columns.items() if column.dictionary}


def _alike(rows: Sequence[Any]) -> tuple[tuple[str, ...] | None, list[tuple[Any, ...]]]:
    """The names that rows may have, and each row's values; None where the rows differ in their names."""
    if isinstance(rows[0], msgspec.Struct):
        return rows[0].__struct_encode_fields__, list(map(msgspec.structs.astuple, rows))
    names = tuple(rows[0])
    if len(names) > 1 and {len(row) for row in rows} == {len(names)}:
        try:
            return names, list(map(itemgetter(*names), rows))
        except KeyError:
            pass
    return None, []


class _Asked(Mapping[str, V]):
    """Columns, each made when it is asked for: rows may have any names, and only a profile's are asked."""

    def __init__(self, column: Callable[[str], V], rows: Sequence[Mapping[str, object]]) -> None:
        self._column = column
        self._rows = rows

    def __getitem__(self, name: str) -> V:
        return self._column(name)

    def __iter__(self) -> Iterator[str]:
        return iter({name for row in self._rows for name in row})

    def __len__(self) -> int:
        return len({name for row in self._rows for name in row})
