"""gRPC queries a second, and how long one takes: the registry with 10 and with 10,000 models, beside a bare server.

The bare server is grpc.aio that answers the same bytes from memory: no identity, no database, no trace.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.figures import TIMES, Figure, percentiles
from benchmarks.processes import postgres
from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1 import registry_service_pb2_grpc as pb_grpc
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.testing import Issuer
from services.chassis.watching import Changes
from services.registry.app import database_of
from services.registry.artifacts import ArtifactStore
from services.registry.commands import Commands
from services.registry.grpc_api import SERVICE, RegistryApi
from services.registry.queries import Queries
from services.registry.store import CHANNEL
from tests.registry.made_up import ADA, FakeDeployments, FakeRuns, registration

_FEW: Final = 10
_MANY: Final = 10_000
_CALLS: Final = 4_000
_CLIENTS: Final = 8


def measure() -> list[Figure]:
    """Queries by model name, with few and with many models, beside the bare server."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with postgres(folder, fsync=False) as dsn:
            return asyncio.run(_measure(dsn, folder))


async def _measure(dsn: str, folder: Path) -> list[Figure]:
    issuer = Issuer(folder)
    database = database_of(dsn)
    await database.start()
    runs = FakeRuns(ArtifactStore(folder / "store"))
    commands, queries = Commands(database, runs, FakeDeployments()), Queries(database, Changes(database, CHANNEL))
    api = RegistryApi(commands, queries)
    server = GrpcServer(
        "127.0.0.1:0",
        [(SERVICE, lambda server: pb_grpc.add_RegistryServiceServicer_to_server(api, server))],
        verifier=issuer.verifier(),
        drain=timedelta(seconds=1),
    )
    await server.start()
    token = issuer.token("ada", Role.SCIENTIST)
    await _fill(commands, runs, 0, _FEW)
    few = await _asked(server.port, token, _FEW)
    await _fill(commands, runs, _FEW, _MANY)
    many = await _asked(server.port, token, _MANY)
    answer = await queries.get_model(pb.GetModelRequest(model="model-1"))
    bare = await _bare(answer)
    await server.stop()
    await database.stop()
    return [
        *_figures("queries.with_10_models", few),
        *_figures("queries.with_10000_models", many),
        *_figures("queries.bare", bare),
        Figure("queries.vs_bare.ratio", round(many[0] / bare[0], 3), TIMES, "ours with 10,000 models ÷ bare grpc.aio"),
        Figure("queries.many_vs_few.ratio", round(many[0] / few[0], 3), TIMES, "10,000 models ÷ 10 models"),
    ]


def _figures(name: str, measured: tuple[float, list[float]]) -> list[Figure]:
    per_second, seconds = measured
    return [
        Figure(f"{name}.per_second", round(per_second), "calls/s", f"{_CLIENTS} clients"),
        *percentiles(seconds, name),
    ]


async def _fill(commands: Commands, runs: FakeRuns, first: int, last: int) -> None:
    for number in range(first, last):
        runs.add(f"run-{number}", {"MLmodel": str(number)})
        await commands.register_version(registration(f"model-{number}", f"run-{number}"), ADA)


async def _asked(port: int, token: str, models: int) -> tuple[float, list[float]]:
    metadata = (("authorization", f"Bearer {token}"),)
    return await _load(port, lambda call: pb.GetModelRequest(model=f"model-{call * 7919 % models}"), metadata)


async def _load(port: int, request: Any, metadata: Any) -> tuple[float, list[float]]:
    seconds: list[float] = []

    async def client(first: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = pb_grpc.RegistryServiceStub(channel)
            for call in range(first, _CALLS, _CLIENTS):
                began = time.perf_counter()
                await stub.GetModel(request(call), metadata=metadata, timeout=10)
                seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*[client(first) for first in range(_CLIENTS)])
    return _CALLS / (time.perf_counter() - began), seconds


async def _bare(answer: pb.GetModelResponse) -> tuple[float, list[float]]:
    class Bare(RegistryApi):
        """Answers from memory, whoever asks."""

        def __init__(self) -> None: ...

        async def GetModel(self, request: pb.GetModelRequest, _: Any) -> pb.GetModelResponse:  # noqa: N802, ARG002 - gRPC's form
            return answer

    server = grpc.aio.server()
    pb_grpc.add_RegistryServiceServicer_to_server(Bare(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    measured = await _load(port, lambda call: pb.GetModelRequest(model=f"model-{call}"), ())
    await server.stop(0)
    return measured
