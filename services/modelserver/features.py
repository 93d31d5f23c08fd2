"""Inputs that come from the feature store: a request brings the keys of its entities instead of them.

    tensors → keys and the other inputs checked → the views read, within the deadline → rows as the model takes them

Reading blocks, so it has threads of its own (`reading`). Whoever waited for the deadline goes on without: `late` are
all of that request's features then, and `failed` where the store raised an error; what else may come of a read stands
in `services.features.reader`. Where a view gives no value, the version's fallback says what becomes of the request: its
features are missing values, as they are in a training set, or it fails with 503. Every outcome is counted, and recorded
with its keys and with when the values came true.

A replay brings all inputs itself, as they were recorded, and reads nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from google.protobuf import json_format

from goldenpath.registry.v1.events_pb2 import FEATURE_FALLBACK_FAIL, FeatureSettings
from services.chassis.clock import Clock
from services.chassis.errors import Invalid, Unavailable
from services.modelserver import instruments
from services.modelserver.reading import Part, Reading, Source
from services.modelserver.schema import ACCEPTS, NULLABLE, Rows, TableSchema, Tensor
from services.modelserver.signature import Input, Matrix, Signature

FOUND: Final = "found"
LATE: Final = "late"
FAILED: Final = "failed"
_log = structlog.get_logger()


class Gave(NamedTuple):
    """What was read for a request, as its records tell it.

    Args:
        keys: A list per join key, a value per row.
        event_times_us: A list per view.
        outcomes: A list per view.
    """

    keys: list[list[Any]]
    event_times_us: list[list[int]]
    outcomes: list[list[str]]


def settings_of(text: str) -> FeatureSettings:
    """A version's feature settings, in protobuf's JSON mapping.

    Raises:
        Invalid: they are none.
    """
    try:
        return json_format.Parse(text, FeatureSettings())
    except json_format.ParseError as error:
        raise Invalid(f"no feature settings: {error}", where="GOLDENPATH_FEATURES") from None


class Features:
    """Reads a version's features.

    Args:
        settings: Which, by when, and what if they don't come.
        signature: What the model takes.
        source: Reads.
        clock: By which age is judged.

    Raises:
        Invalid: the model can't take what the store gives, or can't do without.
    """

    def __init__(self, settings: FeatureSettings, signature: Signature, source: Source, clock: Clock) -> None:
        columns = _columns_of(signature)
        self.views = tuple(view.name for view in settings.views)
        self._widths = [len(view.inputs) for view in settings.views]
        read = [name for view in settings.views for name in view.inputs]
        _check_types(columns, read, source.datatypes())
        brought = [column for column in columns.values() if column.name not in read]
        self.keys = tuple(_key(name, datatype, columns) for name, datatype in source.key_types.items())
        self.asked = (*brought, *(key for key in self.keys if key.name not in columns))
        self._schema = TableSchema(self.asked)
        names = [column.name for column in self.asked] + read
        self._order = [names.index(name) for name in columns]
        self._key_places = [names.index(key.name) for key in self.keys]
        self._deadline_s = settings.deadline.ToTimedelta().total_seconds()
        self._fails = settings.fallback == FEATURE_FALLBACK_FAIL
        self._source = source
        self._clock = clock
        self._reading = Reading(source, [key.name for key in self.keys], clock)
        self._failing = False

    def warm(self) -> None:
        """Read once, since the first read takes a second or two; a store that is down now may be back for the next."""
        nobody: Mapping[str, Any] = {"BYTES": "", "INT64": 0, "INT32": 0}
        try:
            self._source.read({key.name: [nobody[key.datatype]] for key in self.keys}, self._clock.now())
        except Unavailable as error:
            self._say(str(error))

    async def close(self) -> None:
        """End the connections."""
        self._reading.close()
        await self._source.close()

    async def rows(self, tensors: Sequence[Tensor]) -> tuple[Rows, Gave]:
        """A request's rows, whole.

        Raises:
            Invalid: the request doesn't bring what it must.
            Unavailable: a view gave no value, and the version isn't to answer without.
        """
        brought = self._schema.rows(tensors)
        keys = [brought.columns[place] for place in self._key_places]
        with instruments.FEATURE_SECONDS.time():
            views = await self._read(keys, brought.size)
        self._count(views)
        found = brought.columns + [column for view in views for column in view.columns]
        rows = Rows([found[place] for place in self._order], brought.size)
        return rows, Gave(keys, [view.event_times_us for view in views], [view.outcomes for view in views])

    async def _read(self, keys: list[list[Any]], size: int) -> list[Part]:
        try:
            async with asyncio.timeout(self._deadline_s):
                found = await self._reading.read(keys, size)
        except TimeoutError:
            return self._nothing(LATE, size)
        except Unavailable as error:
            self._say(str(error))
            return self._nothing(FAILED, size)
        self._failing = False
        return found

    def _nothing(self, outcome: str, size: int) -> list[Part]:
        return [Part([[None] * size] * width, [0] * size, [outcome] * size) for width in self._widths]

    def _say(self, reason: str) -> None:
        """Log that the store fails, once until it answers again."""
        if not self._failing:
            _log.warning("features can't be read", reason=reason)
        self._failing = True

    def _count(self, views: Sequence[Part]) -> None:
        without = ""
        for name, view in zip(self.views, views, strict=True):
            for outcome, rows in Counter(view.outcomes).items():
                instruments.FEATURES_READ.labels(name, outcome).inc(rows)
                without = without or (f"{name}: {outcome}" if outcome != FOUND else "")
        if without and self._fails:
            raise Unavailable(f"the feature store gives no value ({without})", where="features")


def _columns_of(signature: Signature) -> Mapping[str, Input]:
    if isinstance(signature, Matrix):
        raise Invalid("a model of one tensor has no inputs that features could be", where="features")
    return {column.name: column for column in signature.columns}


def _check_types(columns: Mapping[str, Input], read: Sequence[str], given: Mapping[str, str]) -> None:
    for name in read:
        column = columns.get(name)
        if column is None:
            raise Invalid("the model doesn't take it", where=f"feature {name!r}")
        if given[name] not in ACCEPTS[column.datatype]:
            raise Invalid(
                f"the store gives {given[name]}, the model takes {column.datatype}", where=f"feature {name!r}"
            )
        if column.datatype not in NULLABLE:
            raise Invalid(
                f"a feature may be missing, and the model takes it as {column.datatype}",
                where=f"feature {name!r}",
                fix="train it as a floating-point number",
            )


def _key(name: str, datatype: str, columns: Mapping[str, Input]) -> Input:
    """A key as a request brings it; where the model takes the same input, it is brought once."""
    column = columns.get(name)
    if column is not None and column.datatype != datatype:
        raise Invalid(f"as a key it is {datatype}, the model takes {column.datatype}", where=f"input {name!r}")
    return column or Input(name, datatype)
