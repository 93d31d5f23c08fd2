"""Proving that served features are what the store's history says: a sample of records, then a share, then a signal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple, Protocol

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1 import events_pb2 as pb
from services.chassis.topics import MONITOR
from services.features.history_store import Asked
from services.features.shapes import Scalar, Shape
from services.monitor import events
from services.monitor.batches import texts_of
from services.monitor.domain.proof import SETTLED, TOLERANCE, Known, Proof, Served, differing
from services.monitor.proof_store import KeptBatch
from services.monitor.signalling import signalling
from services.monitor.store import MonitorUnitOfWork, Watch

VIOLATED: Final = "violated"
_INTEGERS: Final = 2**63  # PostgreSQL's bigint
_ROWS: Final = 200  # of a batch; they are as good as all, and a look costs the history two questions


class Histories(Protocol):
    """The feature store's history; see `services.features.history.History`."""

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The views that it knows."""
        ...

    async def known(
        self, view: str, asked: Sequence[Asked]
    ) -> list[tuple[list[tuple[datetime, Mapping[str, Scalar]]], datetime | None]]:
        """What it has for some records."""
        ...

    def key(self, view: str, name: str, text: str | float) -> Scalar:
        """A key as the history has it."""
        ...


class Look(NamedTuple):
    """What a look at kept batches found: by view, of each record that could be compared the inputs that differ."""

    upto: int
    found: Mapping[str, Sequence[frozenset[str]]]


async def look(
    batches: Sequence[KeptBatch], views: Mapping[str, tuple[Sequence[str], Sequence[str]]], history: Histories
) -> Look:
    """Hold a sample of kept batches against the history.

    Args:
        batches: At least one.
        views: By view, its keys and the version's inputs that it gives.
        history: What the feature store knew.

    Raises:
        Unavailable: the history doesn't answer.
    """
    found: dict[str, list[frozenset[str]]] = {}
    for batch in batches:
        told = records_pb.InferenceRecorded.FromString(batch.body)
        for read in told.features:
            if read.view in views and read.view in history.shapes:
                found.setdefault(read.view, []).extend(await _compared(told, read, *views[read.view], history))
    return Look(batches[-1].upto, found)


async def _compared(
    told: records_pb.InferenceRecorded,
    read: records_pb.FeaturesRead,
    keys: Sequence[str],
    inputs: Sequence[str],
    history: Histories,
) -> list[frozenset[str]]:
    columns = {column.name: _values(column) for column in (*told.inputs, *told.keys)}
    if any(name not in columns for name in (*keys, *inputs)):
        return []
    served, asked = [], []
    for row in range(0, len(read.codes), max(1, len(read.codes) // _ROWS)):
        entity = {name: columns[name][row] for name in keys}
        if None in entity.values():
            continue  # whoever brings no key is told nothing
        try:
            named = {name: _key(history, read.view, name, value) for name, value in entity.items()}
            moment, came_true = _at(told.event_times_us[row]), read.event_times_us[row]
            event_time = _at(came_true) if came_true else None
        except (ValueError, OverflowError, OSError):
            continue  # no history has such a key or such a time
        values = {name: columns[name][row] for name in inputs}
        served.append(Served(moment, event_time, read.outcomes[read.codes[row]], values))
        asked.append(Asked(named, event_time, moment, moment - SETTLED))
    known = [Known(*one) for one in await history.known(read.view, asked)] if asked else []
    judged = (differing(one, truth) for one, truth in zip(served, known, strict=True))
    return [one for one in judged if one is not None]


def _key(history: Histories, view: str, name: str, value: str | float | None) -> Scalar:
    """A key as the history has it; ValueError where it can't have it."""
    if value is None or (isinstance(value, str) and "\0" in value):
        raise ValueError(f"{name} is no key")
    key = history.key(view, name, value)
    if isinstance(key, int) and not -_INTEGERS <= key < _INTEGERS:
        raise ValueError(f"{key} is no bigint")
    return key


def _values(column: records_pb.Column) -> list[str | float | None]:
    return [*texts_of(column)] if column.codes else [*column.numbers]


def _at(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)


async def keep(watch: Watch, seen: Look, uow: MonitorUnitOfWork) -> None:
    """Keep what a look found, and tell it, once per watch and view, where surely more differs than may."""
    today, views = uow.now.date(), len(seen.found)
    before = {view: Proof.from_body(body) for view, body in (await uow.proofs.get(watch.id)).items()}
    after = {view: _of_day(before.get(view), today, views).after(found) for view, found in seen.found.items()}
    await uow.proofs.save(watch.id, [(view, proof.to_body()) for view, proof in after.items()])
    await uow.proofs.looked_at(watch.id, seen.upto)
    told = {signal.body.skew.view for signal in await uow.signals.violated(watch.id)}
    for view, proof in _new(after, told):
        await _tell(watch, view, proof, uow)


def _of_day(known: Proof | None, day: date, views: int) -> Proof:
    return known if known is not None and known.day == day.isoformat() else Proof.of(day, views)


def _new(proofs: Mapping[str, Proof], told: set[str]) -> Iterator[tuple[str, Proof]]:
    return ((view, proof) for view, proof in sorted(proofs.items()) if proof.violated and view not in told)


async def _tell(watch: Watch, view: str, proof: Proof, uow: MonitorUnitOfWork) -> None:
    skew = pb.FeatureSkew(
        view=view,
        inputs=proof.commonest(),
        compared=proof.compared,
        differing=proof.differing,
        share_lower=proof.lower,
        tolerance=TOLERANCE,
    )
    since = datetime.fromisoformat(proof.day).replace(tzinfo=UTC)
    signal = events.skewed_of(watch, skew, since, uow.now)
    with signalling(watch, VIOLATED):
        await uow.signals.raise_(watch.id, VIOLATED, signal, since=since, at=uow.now)
        uow.emit(MONITOR, "data_quality.violated", f"model/{watch.model}", pb.DataQualityViolated(signal=signal))
