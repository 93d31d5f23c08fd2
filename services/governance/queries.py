"""What governance is asked: reads only, each of the newest committed state."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from services.chassis.database import Connection
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.rebuilding import check_whole
from services.governance.case_store import Cases
from services.governance.domain import merkle, served, verdicts
from services.governance.domain.merkle import Frontier, Node, Span
from services.governance.domain.policies import DEFAULT, Policy
from services.governance.domain.served import Moment, Share
from services.governance.domain.verdicts import Verdict
from services.governance.log_store import Log, Logged
from services.governance.store import Moments, Policies


@dataclass(frozen=True, slots=True)
class ServedShare:
    """A share of the traffic, the verdict that allowed it, and where the event that began it stands in the log."""

    share: Share
    verdict: Verdict | None
    log_index: int


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An entry, and the proof that it is in the log of that head."""

    logged: Logged
    head: Frontier
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Consistency:
    """Two heads, and the proof that the first log is the beginning of the second."""

    first: Frontier
    second: Frontier
    path: tuple[bytes, ...]


async def get_verdict(model: str, version: int, connection: Connection) -> Verdict:
    """The verdict that stands; version 0 is the newest that was judged.

    Raises:
        NotFound: nobody has judged it.
    """
    judged = await Cases(connection).get(model, version)
    if judged is None:
        label = f"{model}@{version}" if version else model
        raise NotFound(f"nobody has judged {label}", fix="golden register")
    return judged.verdict


async def check_admission(
    model: str, version: int, artifact_digest: str, connection: Connection
) -> tuple[bool, str, Verdict | None]:
    """Whether these bytes may serve now, why or why not, and the verdict that says so."""
    judged = await Cases(connection).get(model, version)
    verdict = judged.verdict if judged else None
    admitted, reason = verdicts.admission(verdict, label=f"{model}@{version}", artifact_digest=artifact_digest)
    return admitted, reason, verdict


async def list_waiting(token: str, size: int, connection: Connection) -> tuple[list[Verdict], str]:
    """A page of verdicts that wait for a person, and the token of the next one."""
    found = await Cases(connection).waiting(after=_place(token), limit=size + 1)
    return found[:size], _token(found[size - 1]) if len(found) > size else ""


async def get_policy(name: str, connection: Connection) -> Policy:
    """The policy of that name that stands; an empty name is the default's.

    Raises:
        NotFound: there is none.
    """
    standing = await Policies(connection).get(name or DEFAULT)
    if standing is None:
        raise NotFound(f"there is no policy {name or DEFAULT}")
    return standing[0]


async def served_at(
    model: str, environment: str, at: datetime, connection: Connection
) -> tuple[list[ServedShare], Frontier]:
    """What had traffic at a moment, who allowed it on what evidence, and the head that the proofs belong to.

    Raises:
        Unavailable: the log hasn't come that far yet, or what served is being rebuilt.
    """
    await check_whole(connection)
    found = served.shares(await Moments(connection).until(model, environment, at))
    told = [await _allowed(share, connection) for share in found]
    return told, await get_head(connection)


async def get_head(connection: Connection) -> Frontier:
    """The log as it is now."""
    log = Log(connection)
    return await log.frontier(await log.size())


async def prove_inclusion(connection: Connection, *, index: int = 0, event_id: str = "") -> Inclusion:
    """An entry by its index or its event's id, and the proof that it is in the log as it is now.

    Raises:
        NotFound: the log has no such entry.
    """
    log = Log(connection)
    logged = await (log.entry_of_event(event_id) if event_id else log.entry(index))
    if logged is None:
        raise NotFound(f"the log has no event {event_id}" if event_id else f"the log has no entry {index}")
    size = await log.size()
    spans = merkle.inclusion_spans(logged.index, size)
    nodes = await log.nodes([*spans, Span(0, size)])
    return Inclusion(logged, merkle.frontier_of(size, nodes), merkle.proof(spans, nodes))


async def prove_consistency(first: int, second: int, connection: Connection) -> Consistency:
    """The proof that the log of the first size is the beginning of that of the second; 0: the present one.

    Raises:
        Invalid: the sizes aren't 1 ≤ first ≤ second ≤ the present one.
    """
    log = Log(connection)
    size = await log.size()
    if second > size:
        raise Invalid(f"the log has {size} entries, not {second}", where="second_size")
    second = second or size
    spans = merkle.consistency_spans(first, second)
    nodes: Mapping[Node, bytes] = await log.nodes([*spans, Span(0, first), Span(0, second)])
    heads = merkle.frontier_of(first, nodes), merkle.frontier_of(second, nodes)
    return Consistency(*heads, merkle.proof(spans, nodes))


async def _allowed(share: Share, connection: Connection) -> ServedShare:
    began = share.began
    logged = await Log(connection).entry_at(began.topic, began.partition, began.offset)
    if logged is None:
        raise Unavailable(f"the log hasn't come to {began.topic}/{began.partition}@{began.offset} yet", fix="try again")
    return ServedShare(share, await _verdict_behind(share.version, began, connection), logged.index)


async def _verdict_behind(version: int, began: Moment, connection: Connection) -> Verdict | None:
    """The verdict that the deployer named; where it named none, the approval that stood when the share began."""
    named = await Moments(connection).verdict_named(began.model, began.environment, version, began.effective_at)
    found = await Cases(connection).verdict(named) if named else None
    return found or await Cases(connection).approval_before(began.model, version, began.effective_at)


def _token(verdict: Verdict) -> str:
    place = [verdict.requested_at.isoformat(), verdict.model, verdict.version]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(token: str) -> tuple[datetime, str, int] | None:
    if not token:
        return None
    try:
        requested_at, model, version = json.loads(base64.urlsafe_b64decode(token.encode()))
        place = datetime.fromisoformat(requested_at), str(model), int(version)
    except (ValueError, TypeError, binascii.Error):
        raise Invalid("it is no token of ours", where="page_token", fix="send the one that came with a page") from None
    if place[0].tzinfo is None or not 0 <= place[2] < 2**31 or "\x00" in place[1]:
        raise Invalid("it is no token of ours", where="page_token", fix="send the one that came with a page")
    return place
