"""Records as columns: what one tuple per request becomes when a batch is closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from services.modelserver.features import Gave
from services.modelserver.predict import Prediction
from services.modelserver.route import Route
from services.modelserver.schema import Rows


class Entry(NamedTuple):
    """One request's records.

    Args:
        route: How the request came.
        ids: A record id of 16 bytes per row.
        time_us: When, in microseconds since 1970-01-01 UTC.
        rows: The inputs.
        prediction: The outputs.
        duration_us: How long the prediction took, in microseconds.
        trace: The traceparent of the request's own span; empty where it wasn't sampled.
        reading: What the feature store gave; None where nothing was read.
    """

    route: Route
    ids: list[bytes]
    time_us: int
    rows: Rows
    prediction: Prediction
    duration_us: int
    trace: str
    reading: Gave | None = None


class Columns(NamedTuple):
    """Records as columns: one value per record in every list.

    `labels` is empty for a regression. `keys`, `event_times_us` and `outcomes` have a list per join key and per feature
    view, and none where no features are read.
    """

    ids: list[bytes]
    times_us: list[int]
    units: list[str]
    request_ids: list[str]
    probabilities: list[float]
    durations_us: list[int]
    traces: list[str]
    scores: list[float]
    labels: list[str]
    inputs: list[list[Any]]
    keys: list[list[Any]]
    event_times_us: list[list[int]]
    outcomes: list[list[str]]

    def part(self, start: int, end: int) -> Columns:
        """Some of the records."""
        single = {name: values[start:end] for name, values in self._asdict().items()}
        lists = {name: [values[start:end] for values in getattr(self, name)] for name in _LISTS}
        return Columns(**single | lists)


_LISTS: Final = ("inputs", "keys", "event_times_us", "outcomes")  # fields that are lists of columns


def flattened(entries: Sequence[Entry]) -> Columns:
    """The records of some requests, in their order."""
    sizes = [len(entry.ids) for entry in entries]
    readings = [entry.reading for entry in entries if entry.reading is not None]  # of all entries, or of none
    return Columns(
        ids=_joined(entry.ids for entry in entries),
        times_us=_repeated((entry.time_us for entry in entries), sizes),
        units=_repeated((entry.route.unit for entry in entries), sizes),
        request_ids=_repeated((entry.route.request_id for entry in entries), sizes),
        probabilities=_repeated((entry.route.probability for entry in entries), sizes),
        durations_us=_repeated((entry.duration_us for entry in entries), sizes),
        traces=_firsts((entry.trace for entry in entries), sizes),
        scores=_joined(entry.prediction.scores for entry in entries),
        labels=_joined(entry.prediction.labels or [] for entry in entries),
        inputs=_side_by_side(entry.rows.columns for entry in entries),
        keys=_side_by_side(reading.keys for reading in readings),
        event_times_us=_side_by_side(reading.event_times_us for reading in readings),
        outcomes=_side_by_side(reading.outcomes for reading in readings),
    )


def _side_by_side(parts: Iterable[list[list[Any]]]) -> list[list[Any]]:
    return [_joined(column) for column in zip(*parts, strict=True)]


def _joined(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def _repeated(values: Iterable[Any], sizes: Sequence[int]) -> list[Any]:
    return _joined([value] * size for value, size in zip(values, sizes, strict=True))


def _firsts(traces: Iterable[str], sizes: Sequence[int]) -> list[str]:
    return _joined([trace] + [""] * (size - 1) for trace, size in zip(traces, sizes, strict=True))
