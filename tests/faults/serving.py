"""A model that is served: registered, approved, and answered for by its servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import grpc

from golden.connection import error_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.testing import eventually
from tests.faults.registrations import registration_of
from tests.faults.world import World

MODEL: Final = "served"
PATIENCE: Final = timedelta(seconds=120)
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
