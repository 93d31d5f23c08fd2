"""The registry as a process, with everything real: PostgreSQL, Kafka, MLflow, the artifact store, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from golden.embedded.processes import free_port
from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from services.chassis.identity import Role
from services.chassis.testing import Issuer, eventually
from services.modelserver.artifact import verified_files
from tests.registry.made_up import Trained, registration

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub


class Registry:
    """A registry as a process, which a test may kill and start again."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.store = folder / "store"
        self.grpc, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._spawn()
        await eventually(self._ready, what="/readyz")

    def _spawn(self) -> None:
        told = self._environment | {
            "GRPC_ADDRESS": self.grpc,
            "HTTP_ADDRESS": self.http,
            "ARTIFACT_STORE": str(self.store),
            "TRACES_FOLDER": str(self._folder / "traces"),
        }
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.registry"],
                env=os.environ | {f"GOLDENPATH_{name}": value for name, value in told.items()},
                stderr=log,
            )

    async def _ready(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://{self.http}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)


@pytest.fixture
def registry(tmp_path: Path, kafka: str, database: Any, trained: Trained) -> Iterator[Registry]:
    issuer = Issuer(tmp_path)
    (tmp_path / "token").write_text(issuer.token("ada", Role.SCIENTIST))
    made = Registry(
        tmp_path,
        {
            "DATABASE_DSN": database.dsn,
            "KAFKA_BOOTSTRAP": kafka,
            "JWKS_PATH": str(issuer.jwks_path),
            "MLFLOW_TRACKING_URI": trained.uri,
        },
    )
    yield made
    made.end(signal.SIGKILL)


async def test_a_kill_in_the_middle_of_a_registration_leaves_nothing_half_done(
    registry: Registry, trained: Trained, tmp_path: Path
) -> None:
    await registry.start()
    ada = [("authorization", f"Bearer {(tmp_path / 'token').read_text()}")]
    asked = registration(run=trained.runs["whole"])
    async with grpc.aio.insecure_channel(registry.grpc) as channel:
        stub: RegistryServiceAsyncStub = _stub(channel)
        call = stub.RegisterVersion(asked, metadata=ada)
        staging = registry.store / "staging"

        async def copying() -> bool:
            return any(staging.glob("*.lock"))

        await eventually(copying, what="a folder in staging")
        assert registry.end(signal.SIGKILL) == -signal.SIGKILL
        with pytest.raises(grpc.aio.AioRpcError):
            await call

    await registry.start()
    async with grpc.aio.insecure_channel(registry.grpc) as channel:
        stub = _stub(channel)
        made = await stub.RegisterVersion(asked, metadata=ada)
        again = await stub.RegisterVersion(asked, metadata=ada)
        assert (made.created, again.created) == (True, False)
        assert made.version.registered.version == 1
        assert verified_files(registry.store, made.version.registered.artifact_digest).is_dir()
        profile = await stub.GetProfile(pb.GetProfileRequest(model="credit", version=1), metadata=ada)
        assert profile.digest == made.version.registered.profile_digest
    assert list(staging.iterdir()) == []
    assert registry.end(signal.SIGTERM) == 0


def _stub(channel: grpc.aio.Channel) -> Any:
    return RegistryServiceStub(channel)
