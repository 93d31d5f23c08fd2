"""Pairing: a mirrored candidate's answers meet the stable version's on the same requests, each once.

The router stamps a request and its copy with one id. Two servers answer, and two batches tell of it, in either order:
the first to arrive waits, bounded, for the other. All of it happens in the transaction that moves the records' offset,
after repeats were taken out, so that no record is paired twice or by two replicas. Nothing of it enters a window.

A deployment's answers are kept for pairing only while copies come, so that one without a shadow step pays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from goldenpath.modelserver.v1 import events_pb2 as records_pb
from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from services.monitor import batches
from services.monitor.domain.judge import Judge
from services.monitor.domain.pairs import Answers, Compared, compare
from services.monitor.packed import told_of
from services.monitor.pair_store import MOST_WAITING, QUIET, Pairs, Shadow

if TYPE_CHECKING:
    from services.chassis.database import Connection
    from services.monitor.handlers import Arrived
    from services.monitor.store import MonitorUnitOfWork

_SIDES: Final = ((records_pb.ARM_STABLE, False), (records_pb.ARM_SHADOW, True))


async def pair_records(
    arrived: Sequence[Arrived], judges: Mapping[tuple[str, int], Judge | None], uow: MonitorUnitOfWork
) -> None:
    """Records arrived, each for the first time: those of mirrored deployments meet their other side."""
    copies = [batch for batch in arrived if batch.head.arm == records_pb.ARM_SHADOW]
    deployments = {(batch.place.model, batch.place.environment) for batch in arrived}
    if not copies and not await uow.pairs.awake(list(deployments)):
        return
    bodies = _by_deployment(arrived)
    for deployment in sorted(bodies):  # all of them first, and in order: so do the watches that come after
        await uow.watches.lock(*deployment)
    for batch in copies:
        await uow.pairs.begin(_shadow_of(batch, judges, uow))
    for shadow in await uow.pairs.awake(list(bodies)):
        if uow.now - shadow.seen_at > QUIET:
            await uow.pairs.sleep(shadow)
        else:
            await _meet(shadow, bodies[shadow.model, shadow.environment], uow)


async def disagreement(
    model: str, environment: str, version: int, epoch: int, connection: Connection
) -> pb.GetDisagreementResponse:
    """How a mirrored candidate's answers compare with the stable's; zeros where no copy was seen of it."""
    shadow = await Pairs(connection).of(model, environment)
    found = shadow.found if shadow and (shadow.version, shadow.epoch) == (version, epoch) else Compared()
    apart = found.apart / found.pairs if found.pairs else 0.0
    numbers = (
        f"{found.differing:,} of {found.pairs:,} answers differ from the stable's, scores {apart:.3g} apart on average"
    )
    return pb.GetDisagreementResponse(
        pairs=found.pairs,
        disagreements=found.differing,
        unpaired=found.unpaired,
        mean_absolute_difference=apart,
        sentence=f"version {version}: {numbers if found.pairs else 'no answer has been paired yet'}; "
        f"{found.unpaired:,} have no other side.",
    )


async def _meet(shadow: Shadow, bodies: Sequence[records_pb.InferenceRecorded], uow: MonitorUnitOfWork) -> None:
    found = Compared()
    for arm, mirrored in _SIDES:
        answers = _answers_of([body for body in bodies if body.arm == arm and _concerns(shadow, body)])
        others = await uow.pairs.take(shadow, list(answers), mirrored=not mirrored) if answers else {}
        for request, other in others.items():
            found += compare(other, answers.pop(request), shadow.deviation)
        await uow.pairs.keep(shadow, answers, mirrored=mirrored)
    found += Compared(unpaired=await uow.pairs.let_go(shadow, MOST_WAITING))
    await uow.pairs.count(shadow, found)


def _concerns(shadow: Shadow, body: records_pb.InferenceRecorded) -> bool:
    return body.arm == records_pb.ARM_STABLE or (body.version, body.epoch) == (shadow.version, shadow.epoch)


def _answers_of(bodies: Sequence[records_pb.InferenceRecorded]) -> dict[str, Answers]:
    """Each request's answers; a request that didn't come through the router has no id, and no copy."""
    made: dict[str, tuple[list[float], list[str | None]]] = {}
    for body in bodies:
        requests = batches.texts_of(body.request_ids)
        for request, score, label in zip(requests, batches.scores_of(body), batches.labels_of(body), strict=False):
            if request:
                scores, labels = made.setdefault(request, ([], []))
                scores.append(score)
                labels.append(label)
    return {request: Answers(*answers) for request, answers in made.items()}


def _shadow_of(batch: Arrived, judges: Mapping[tuple[str, int], Judge | None], uow: MonitorUnitOfWork) -> Shadow:
    place = batch.place
    judge = judges.get((place.model, place.version))
    scores = [one for one in judge.profile.features if one.name == batches.SCORE] if judge else []
    deviation = scores[0].deviation if scores else 0.0
    return Shadow(place.model, place.environment, place.version, place.epoch, deviation, uow.now, Compared())


def _by_deployment(arrived: Sequence[Arrived]) -> dict[tuple[str, str], list[records_pb.InferenceRecorded]]:
    made: dict[tuple[str, str], list[records_pb.InferenceRecorded]] = {}
    for batch in arrived:
        made.setdefault((batch.place.model, batch.place.environment), []).append(told_of(batch.data))
    return made
