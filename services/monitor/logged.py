"""Requests and answers that another system's logger told one by one, joined into predictions, each once.

Both sides come by one partition (their key is the request's id) in any order, and are joined in the transaction that
moves it: the first waits in a bounded table. What was joined is remembered there, so that a side that is sent again
changes nothing. Answers that aren't as many as the records that were asked about join with nothing, and die.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from goldenpath.ingest.v1.events_pb2 import InferenceLogged, LoggedAnswer, LoggedInput
from services.chassis import instruments
from services.chassis.errors import Invalid
from services.chassis.parking import Raw
from services.monitor import places
from services.monitor.logged_store import Asked, Sides
from services.monitor.singles import Told

if TYPE_CHECKING:
    from services.monitor.store import MonitorUnitOfWork

LONGEST_ID: Final = 200  # characters; KServe's are UUIDs, or what the client sent as ce-id
TYPE: Final = "inference.logged"
Side = tuple[Raw, InferenceLogged]


def check(body: InferenceLogged) -> InferenceLogged:
    """One side of a request, whole.

    Raises:
        Invalid: it names no model, version or request, or is neither side or both.
    """
    places.check(body.model, body.version, body.environment, body.epoch)
    if not body.request_id or "\0" in body.request_id or len(body.request_id) > LONGEST_ID:
        raise Invalid(f"a logged request has an id of at most {LONGEST_ID} characters, without NUL", where="request_id")
    places.moment_of(body.event_time, "event_time")
    if bool(body.inputs) == bool(body.answers):
        raise Invalid("it tells either what was asked or what was answered", where="inputs")
    return body


async def join(
    sides: Sequence[Side], dead: list[tuple[Raw, Invalid]], uow: MonitorUnitOfWork
) -> list[tuple[Raw, Told]]:
    """Sides arrived: what they tell with those that waited for them. What can't be joined is added to the dead."""
    if not sides:
        return []
    keys = [_key(body) for _, body in sides]
    known = await uow.logged.of(set(keys))
    told: list[tuple[Raw, Told]] = []
    changed: dict[Asked, Sides] = {}
    for key, (raw, body) in zip(keys, sides, strict=True):
        before = changed.get(key) or known.get(key, Sides())
        if before.joined:
            continue
        changed[key] = after = _with(before, body)
        if after.asked and after.answered:
            changed[key] = Sides(joined=True)
            try:
                told += [(raw, each) for each in _joined(after.asked, after.answered)]
            except Invalid as error:
                dead.append((raw, error))
    await uow.logged.keep(changed)
    instruments.MONITOR_UNJOINED.inc(await uow.logged.let_go())
    return told


def _key(body: InferenceLogged) -> Asked:
    return Asked(body.model, body.environment, body.version, body.request_id)


def _with(sides: Sides, body: InferenceLogged) -> Sides:
    told = body.SerializeToString()
    return sides._replace(asked=told) if body.inputs else sides._replace(answered=told)


def _joined(asked: bytes, answered: bytes) -> list[Told]:
    one, other = InferenceLogged.FromString(asked), InferenceLogged.FromString(answered)
    if len(one.inputs) != len(other.answers):
        raise Invalid(f"{len(one.inputs)} records were asked about, and {len(other.answers)} answered", where="answers")
    pairs = zip(one.inputs, other.answers, strict=True)
    return [_told(one, row, *pair) for row, pair in enumerate(pairs)]


def _told(body: InferenceLogged, row: int, asked: LoggedInput, answer: LoggedAnswer) -> Told:
    return Told(
        model=body.model,
        version=body.version,
        environment=body.environment,
        epoch=body.epoch,
        candidate=body.candidate,
        record_id=record_id(body.request_id, row),
        event_time=places.moment_of(body.event_time, "event_time") if body.HasField("event_time") else None,
        numbers=dict(asked.numbers),
        texts=dict(asked.texts),
        score=answer.score if answer.HasField("score") else None,
        label=answer.label,
    )


def record_id(request_id: str, row: int) -> str:
    """The id of a request's record, which outcomes may name: the request's own where it is a UUID and has one row.

    Further rows, and requests whose id is none, have the UUID of version 5 of `request_id/row` in the URL namespace.
    """
    try:
        return str(uuid.UUID(request_id)) if row == 0 else str(uuid.uuid5(uuid.NAMESPACE_URL, f"{request_id}/{row}"))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{request_id}/{row}"))
