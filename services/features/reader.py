"""Feature views read online, for the rows of a request.

    keys per row → each view: what the store has of its entity → values, when they came true, and what came of it

found     the store has the entity, and its values aren't too old
stale     its values are older than the view's time to live: they count as missing, as they do in a training set
unknown   the store has nothing of the entity, or a row gives no key

Whoever asks decides how long it waits, and what it makes of a store that fails or doesn't answer; asking blocks, and
so belongs in a thread. Definitions are read once, at the start: a reader is as constant as the version it reads for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from feast import FeatureStore, FeatureView, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from services.chassis.errors import Invalid, NotFound, Unavailable
from services.features.definitions import digest_of

FOUND: Final = "found"
STALE: Final = "stale"
UNKNOWN: Final = "unknown"

_FIELDS: Final = {
    ValueType.STRING: ("string_val", "BYTES"),
    ValueType.INT64: ("int64_val", "INT64"),
    ValueType.INT32: ("int32_val", "INT32"),
    ValueType.DOUBLE: ("double_val", "FP64"),
    ValueType.FLOAT: ("float_val", "FP32"),
    ValueType.BOOL: ("bool_val", "BOOL"),
}
_KEYS: Final = (ValueType.STRING, ValueType.INT64, ValueType.INT32)


class Wanted(NamedTuple):
    """What is read of one view: some of its features, none older than `ttl`; the digest is of how it was defined."""

    view: str
    digest: str
    inputs: tuple[str, ...]
    keys: tuple[str, ...]
    ttl: timedelta | None


class Read(NamedTuple):
    """What a view gave: a list per input, and per row when the values came true (0: none) and what came of it."""

    columns: list[list[Any]]
    event_times_us: list[int]
    outcomes: list[str]


@dataclass(frozen=True, slots=True)
class _Source:
    wanted: Wanted
    view: FeatureView
    fields: tuple[str, ...]


class Reader:
    """Reads some views of a feature store.

    Args:
        settings: The store's feature_store.yaml.
        wanted: What is read.

    Raises:
        Unavailable: the store's definitions can't be read.
        NotFound: it has no such view, or not such a feature.
        Invalid: a key or a feature has a type that can't be served.
    """

    def __init__(self, settings: Path, wanted: Sequence[Wanted]) -> None:
        try:
            self._store = FeatureStore(fs_yaml_file=settings)
            self._views = {view.name: view for view in self._store.list_feature_views()}
            self._entities = {entity.name: entity for entity in self._store.list_entities()}
        except Exception as error:  # whatever a store's own client raises
            raise Unavailable(f"the feature store can't be read: {type(error).__name__}: {error!s:.200}") from error
        self._provider = self._store._get_provider()  # noqa: SLF001 - the public call cuts event times to whole seconds
        self._sources = [self._source(one) for one in wanted]
        self.key_types = self._key_types(wanted)
        """By join key, its datatype in the Open Inference Protocol's words."""

    def _source(self, wanted: Wanted) -> _Source:
        view = self._views.get(wanted.view)
        if view is None:
            raise NotFound(f"the feature store has no view {wanted.view}", fix="apply the feature repository")
        known = {field.name: field.dtype.to_value_type() for field in view.features}
        missing = sorted(set(wanted.inputs) - known.keys())
        if missing:
            raise NotFound(f"the feature view {wanted.view} has no {', '.join(missing)}")
        return _Source(wanted, view, tuple(_field(known[name], name) for name in wanted.inputs))

    def _key_types(self, wanted: Sequence[Wanted]) -> dict[str, str]:
        types = {entity.join_key: entity.value_type for entity in self._entities.values()}
        found = {}
        for key in sorted({key for one in wanted for key in one.keys}):
            if types.get(key) not in _KEYS:
                raise Invalid(f"the key {key} is neither text nor a whole number", where="features")
            found[key] = _FIELDS[types[key]][1]
        return found

    def changed(self) -> list[str]:
        """Views that aren't defined any more as they were when the version was registered."""
        return [
            source.wanted.view
            for source in self._sources
            if digest_of(source.view, self._entities) != source.wanted.digest
        ]

    def datatypes(self) -> dict[str, str]:
        """By input, its datatype in the Open Inference Protocol's words."""
        by_field = dict(_FIELDS.values())
        return {
            name: by_field[field]
            for source in self._sources
            for name, field in zip(source.wanted.inputs, source.fields, strict=True)
        }

    async def close(self) -> None:
        """End the connections."""
        await self._store.close()

    def read(self, keys: Mapping[str, Sequence[Any]], now: datetime) -> list[Read]:
        """What every view has for some rows, in the order in which views were wanted.

        Args:
            keys: By join key a value per row; None: it has none.
            now: By which age is judged.

        Raises:
            Unavailable: the store doesn't answer, or fails.
        """
        try:
            return [self._read(source, keys, now) for source in self._sources]
        except Exception as error:  # whatever a store's own client raises
            raise Unavailable(f"the feature store fails: {type(error).__name__}: {error!s:.200}") from error

    def _read(self, source: _Source, keys: Mapping[str, Sequence[Any]], now: datetime) -> Read:
        wanted = source.wanted
        rows = list(zip(*(keys[key] for key in wanted.keys), strict=True))
        asked = list(dict.fromkeys(row for row in rows if None not in row))
        found = dict(zip(asked, self._ask(source, asked), strict=True)) if asked else {}
        given = [_judged(found.get(row), wanted.ttl, now) for row in rows]
        return Read(
            [
                [_value(values, name, field) for values, _, _ in given]
                for name, field in zip(wanted.inputs, source.fields, strict=True)
            ],
            [event_time for _, event_time, _ in given],
            [outcome for _, _, outcome in given],
        )

    def _ask(self, source: _Source, rows: Sequence[tuple[Any, ...]]) -> Sequence[_Known]:
        fields = [self._key_field(key) for key in source.wanted.keys]
        entities = [
            EntityKey(
                join_keys=source.wanted.keys,
                entity_values=[Value(**{field: value}) for field, value in zip(fields, row, strict=True)],
            )
            for row in rows
        ]
        return self._provider.online_read(self._store.config, source.view, entities, list(source.wanted.inputs))

    def _key_field(self, key: str) -> str:
        datatype = self.key_types[key]
        return next(field for field, name in _FIELDS.values() if name == datatype)


_Known = tuple[datetime | None, Mapping[str, Value] | None]
_NOTHING: Final = (None, 0, UNKNOWN)


def _judged(known: _Known | None, ttl: timedelta | None, now: datetime) -> tuple[Mapping[str, Value] | None, int, str]:
    if known is None or known[0] is None or not known[1]:
        return _NOTHING
    event_time = known[0] if known[0].tzinfo else known[0].replace(tzinfo=UTC)
    micros = round(event_time.timestamp() * 1e6)
    if micros == 0:  # how Feast's Redis store says that it has nothing
        return _NOTHING
    if ttl is not None and now - event_time > ttl:
        return None, micros, STALE
    return known[1], micros, FOUND


def _value(values: Mapping[str, Value] | None, name: str, field: str) -> Any:
    value = values.get(name) if values else None
    return getattr(value, field) if value is not None and value.WhichOneof("val") == field else None


def _field(kind: ValueType, name: str) -> str:
    if kind not in _FIELDS:
        raise Invalid(f"the feature {name} is a {kind.name}, which can't be served", where="features")
    return _FIELDS[kind][0]
