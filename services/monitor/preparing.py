"""Preparing a poll: its events decoded, and counted under their versions' profiles, outside of any transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Protocol

from google.protobuf.message import DecodeError

from goldenpath.ingest.v1.events_pb2 import InferenceLogged
from services.chassis import cloudevents
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.monitor import arrow_batches, estimating, logged, packed, singles
from services.monitor.batches import ROLES
from services.monitor.domain.judge import Judge
from services.monitor.domain.panes import cut
from services.monitor.forms import BATCH, COLUMNAR, OTHER, SINGLE, form_of, shared_form, traceparent_of
from services.monitor.handlers import Arrived
from services.monitor.logged import Side
from services.monitor.packed import Batch
from services.monitor.predictions import Predictions, gathered
from services.monitor.singles import Told


class Judged(Protocol):
    """Whoever gives the judge of a version, as `clients.Judges` does."""

    async def of(self, model: str, version: int) -> Judge | None:
        """The judge; None where the version has no profile."""


@dataclass
class Prepared:
    """What a poll brought.

    Args:
        where: Where the first of it stands: the name of batches that are gathered from it.
        arrived: What is whole.
        dead: What isn't, and why.
        judges: Who judges each version.
        sides: Logged requests and answers, which wait for each other.
    """

    where: str
    arrived: list[Arrived] = field(default_factory=list)
    dead: list[tuple[Raw, Invalid]] = field(default_factory=list)
    judges: dict[tuple[str, int], Judge | None] = field(default_factory=dict)
    sides: list[Side] = field(default_factory=list)


async def prepare(raws: Sequence[Raw], judges: Judged, *, again: bool = False) -> Prepared:
    """Decode and count what was read at once, at least one event.

    Args:
        raws: The events.
        judges: Who judges versions.
        again: They were dead letters. What was read with one may have been gathered under the name of its place.

    Raises:
        Unavailable: a judge's profile isn't known, and the registry doesn't answer.
    """
    first = raws[0]
    prepared = Prepared(f"{first.topic}/{first.partition}/{first.offset}{'/again' if again else ''}")
    one_by_one: list[tuple[Raw, Told]] = []
    forms = _by_form(raws)
    for form in (COLUMNAR, OTHER):
        for raw in forms.pop(form, []):
            try:
                if form != COLUMNAR or not await _took_batch(raw, prepared, judges):
                    await _prepare(raw, prepared, one_by_one, judges)
            except Invalid as error:
                prepared.dead.append((raw, error))
    told = singles.columns_of([raw for raw, _ in one_by_one], [each for _, each in one_by_one], prepared.dead)
    for form, group in forms.items():
        told += singles.read_all(group, form, prepared.dead)
    for each in told:
        await _judge(each.place.model, each.place.version, prepared, judges)
    arrive(told, "", raws, prepared)
    return prepared


def arrive(told: Sequence[Predictions], name: str, raws: Sequence[Raw], prepared: Prepared) -> None:
    """Gather predictions of a poll, whose judges are known, into batches that arrived, named apart by `name`."""
    appended_at = _at(max(map(attrgetter("appended_ms"), raws)))
    for number, each in enumerate(told, 1):
        judge = prepared.judges[each.place.model, each.place.version]
        batch = gathered(each, f"{prepared.where}{name}", number, judge.profile if judge else None)
        prepared.arrived.append(counted(batch, judge, appended_at, ""))


def _by_form(raws: Sequence[Raw]) -> dict[str, Sequence[Raw]]:
    """Events by their form; most polls are of one."""
    headers = [raw.headers for raw in raws]
    if shared := shared_form(headers):
        return {shared: raws}
    found: defaultdict[str, list[Raw]] = defaultdict(list)
    for raw, each in zip(raws, headers, strict=True):
        found[form_of(each)].append(raw)
    return dict(found)


async def _took_batch(raw: Raw, prepared: Prepared, judges: Judged) -> bool:
    """Count a batch whose form is known; False where it is packed otherwise, or broken, which must be said."""
    try:
        batch, traceparent = packed.whole(raw.value or b""), traceparent_of(raw.headers)
    except (DecodeError, Invalid, UnicodeDecodeError):
        return False
    await _count(batch, raw, traceparent, prepared, judges)
    return True


async def _prepare(raw: Raw, prepared: Prepared, one_by_one: list[tuple[Raw, Told]], judges: Judged) -> None:
    """Count or read an event that didn't tell its form at a glance."""
    event = cloudevents.read(raw.headers, raw.value)
    if event.type == SINGLE:
        one_by_one.append((raw, singles.read(event)))
    elif event.type == BATCH:
        told_by_arrow = event.content_type.startswith(arrow_batches.ARROW)
        batch = arrow_batches.read(event, raw.appended_ms) if told_by_arrow else packed.read(event)
        await _count(batch, raw, event.traceparent, prepared, judges)
    elif event.type == logged.TYPE:
        body = logged.check(cloudevents.body(event, InferenceLogged))
        await _judge(body.model, body.version, prepared, judges)
        prepared.sides.append((raw, body))


async def _count(batch: Batch, raw: Raw, traceparent: str, prepared: Prepared, judges: Judged) -> None:
    judge = await _judge(batch.head.model, batch.head.version, prepared, judges)
    prepared.arrived.append(counted(batch, judge, _at(raw.appended_ms), traceparent))


async def _judge(model: str, version: int, prepared: Prepared, judges: Judged) -> Judge | None:
    if (model, version) not in prepared.judges:
        prepared.judges[model, version] = await judges.of(model, version)
    return prepared.judges[model, version]


def counted(batch: Batch, judge: Judge | None, appended_at: datetime, traceparent: str) -> Arrived:
    """A batch that arrived, counted where it counts.

    Args:
        batch: The batch.
        judge: Its version's judge; None where the version has no profile.
        appended_at: When the broker took it.
        traceparent: The trace context in which it was sent.

    Raises:
        Invalid: it doesn't fit its version's profile.
    """
    times = packed.clamped(batch.times_us, appended_at)
    counts = judge is not None and batch.head.arm in ROLES
    panes = cut(judge.profile, batch.columns, times) if judge and counts else ()
    oldest_at, newest_at = (datetime.fromtimestamp(int(moment) / 1e6, UTC) for moment in (times.min(), times.max()))
    estimate = estimating.estimate_of(batch, judge) if judge and counts else None
    return Arrived(batch.head, batch.data, batch.rows, oldest_at, newest_at, panes, traceparent, estimate)


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
