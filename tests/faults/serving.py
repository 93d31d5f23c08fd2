"""A model that is served: registered, approved, and answered for by its servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, Final

import grpc
import httpx

from golden.connection import error_of
from golden.inference import request_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis.testing import eventually
from services.chassis.topics import RECORDS
from tests.faults.bus import Bus
from tests.faults.poison import Record
from tests.faults.registrations import registration_of
from tests.faults.world import World

MODEL: Final = "served"
PATIENCE: Final = timedelta(seconds=120)
_LATER: Final = count(1_000)
_TRAINED_WITHIN_S: Final = 60.0


async def serve(world: World) -> str:
    """Train, register and approve one version, and wait until both of its servers answer; the model's name."""
    (run,) = await world.train(1)
    ada, grace = world.as_("ada", "scientist"), world.as_("grace", "reviewer")
    registered = registration_of(MODEL, run)
    await asyncio.to_thread(ada.registry.RegisterVersion, registered, timeout=_TRAINED_WITHIN_S)
    approved = governance.ApproveRequest(model=MODEL, version=1, comment="fine")
    await answered(lambda: grace.governance.Approve(approved))
    await eventually(lambda: both_answer(world), within=PATIENCE, what="a stable version with its two servers")
    return MODEL


async def both_answer(world: World) -> bool:
    """Whether the version has the two servers that one without a predecessor needs."""
    asked = deployer.GetDeploymentRequest(model=MODEL)
    found = await answered(lambda: world.as_("otto", "operator").deployer.GetDeployment(asked))
    return [one.ready for one in found.deployment.servers] == [2]


async def answered(question: Callable[[], Any]) -> Any:
    """The answer to a question about what may not be there yet."""

    async def answer() -> Any:
        try:
            return await asyncio.to_thread(question)
        except grpc.RpcError as failure:
            raise error_of(failure) from None

    return await eventually(answer, within=PATIENCE, what="an answer")


async def a_batch(world: World, model: str) -> Record:
    """A batch of records, as a model server wrote it."""
    url = f"{world.as_('ada').endpoints.gateway}/v2/models/{model}/infer"
    async with httpx.AsyncClient() as web:
        answer = await web.post(url, json=request_of({"age": 40.0, "hours": 40.0}))
    assert answer.is_success, answer.text
    bus = Bus(world.kafka.bootstrap)

    async def written() -> Record | None:
        await bus.read()
        found = [one for one in bus.records if one.event and one.event.type == "inference.recorded"]
        return (RECORDS.name, None, found[-1].headers, found[-1].value) if found else None

    batch: Record = await eventually(written, within=PATIENCE, what="a batch of records")
    return batch


def another(batch: Record) -> Record:
    """The same records as a batch of their own, as the same server would have written it later."""
    topic, key, headers, value = batch
    body = InferenceRecorded.FromString(value or b"")
    body.batch = body.batch + next(_LATER)
    body.record_ids = b"".join(uuid.uuid4().bytes for _ in body.event_times_us)
    return topic, key, headers, body.SerializeToString()
