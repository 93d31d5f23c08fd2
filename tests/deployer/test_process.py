"""The deployer as a process, with real Kafka, PostgreSQL, Envoy and model servers; its siblings are fakes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from aiokafka import AIOKafkaProducer
from google.protobuf.message import Message
from sklearn.linear_model import LogisticRegression

from golden.embedded.processes import Running, free_port, start
from goldenpath.deployer.v1 import deployer_service_pb2 as pb2
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as pb2_grpc
from goldenpath.deployer.v1 import events_pb2
from goldenpath.governance.v1 import events_pb2 as governance_pb2
from goldenpath.modelserver.v1 import events_pb2 as modelserver_pb2
from goldenpath.monitor.v1 import events_pb2 as monitor_pb2
from services.chassis.cloudevents import headers_of
from services.chassis.identity import Role
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, emitted, eventually
from services.chassis.topics import create_topics
from services.deployer.router.envoy_admin import EnvoyAdmin
from tests.conftest import Database
from tests.deployer.conftest import Proxy
from tests.deployer.siblings import Siblings, siblings
from tests.modelserver.conftest import put, save

ORDER = ("admitted", "provisioning", "shadow", "canary", "promoted")
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


def model(*, right: bool) -> Any:
    """It knows that y is 1 where x is above 0, or has it the wrong way round."""
    x = pd.DataFrame({"x": np.linspace(-2, 2, 200)})
    untyped: Any = LogisticRegression
    return untyped().fit(x, (x["x"] > 0) == right)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, str]]:
    """A store with version 1, which is right, and version 2, which is wrong."""
    folder = tmp_path_factory.mktemp("artifacts")
    example = pd.DataFrame({"x": [0.1, 0.2, 0.3]})
    saved = {n: save(model(right=n == 1), folder / f"saved{n}", example) for n in (1, 2)}
    return folder / "store", {number: put(folder / "store", path) for number, path in saved.items()}


@dataclass
class Process:
    """The deployer's process, and all that stands around it."""

    environment: dict[str, str]
    folder: Path
    siblings: Siblings
    producer: AIOKafkaProducer
    model: str
    token: str
    url: str
    dsn: str
    running: Running | None = None
    sequence: int = 0
    statuses: list[int] = field(default_factory=list)

    def start(self) -> None:
        command = [sys.executable, "-m", "services.deployer"]
        self.running = start(command, log=self.folder / "deployer.log", environment=self.environment)

    def kill(self) -> None:
        assert self.running is not None
        self.running.stop(timedelta(seconds=10), gently=signal.SIGKILL)

    async def restart(self) -> None:
        self.kill()
        self.start()

    async def tell(self, topic: str, type_name: str, body: Message) -> None:
        self.sequence += 1
        event = emitted(
            body, type_name, subject=f"model/{self.model}", sequence=self.sequence, source=f"goldenpath/{self.model}"
        )
        await self.producer.send_and_wait(
            topic, event.data, key=f"model/{self.model}".encode(), headers=headers_of(event)
        )

    async def approve(self, version: int) -> None:
        verdict = governance_pb2.Verdict(model=self.model, version=version)
        await self.tell("governance.events", "model.approved", governance_pb2.ModelApproved(verdict=verdict))

    async def ask(self, method: str, request: Message) -> Any:
        async with grpc.aio.insecure_channel(self.environment["GOLDENPATH_GRPC_ADDRESS"]) as channel:
            stub = pb2_grpc.DeployerServiceStub(channel)
            metadata = (("authorization", f"Bearer {self.token}"),)
            return await getattr(stub, method)(request, metadata=metadata, timeout=10)

    async def state(self) -> pb2.Deployment | None:
        with suppress(grpc.aio.AioRpcError):
            answer: pb2.GetDeploymentResponse = await self.ask(
                "GetDeployment", pb2.GetDeploymentRequest(model=self.model)
            )
            return answer.deployment
        return None

    async def serves(self, version: int) -> pb2.Deployment:
        async def there() -> pb2.Deployment | None:
            state = await self.state()
            alone = state is not None and not state.position.candidate_version and state.effective
            return state if alone and state is not None and state.position.stable_version == version else None

        found: pb2.Deployment = await self.meanwhile(there)
        return found

    async def has_servers(self, count: int) -> None:
        """Wait until so many servers answer, no others run, and the proxy knows them; requests flow meanwhile."""
        admin = EnvoyAdmin(self.environment["GOLDENPATH_PROXY_ADMIN"])

        async def there() -> bool:
            state = await self.state()
            ready = [one for one in state.endpoints if one.ready] if state is not None else []
            alone = sorted(one.pid for one in ready) == sorted(server.pid for server in self.servers())
            known = {one.http_address for one in ready} <= await admin.addresses()
            return len(ready) == count and alone and known

        await self.meanwhile(there)
        await admin.close()

    async def meanwhile(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Poll a condition while requests flow, once there is something to answer them."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30) as client:

            async def tried() -> Any:
                found = await condition()
                if not found:
                    await self._requests(client, 10)
                return found

            return await eventually(tried, within=timedelta(seconds=120))

    async def _requests(self, client: httpx.AsyncClient, count: int) -> None:
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [0.5]}]}
        path = f"/v2/models/{self.model}/infer"
        asked = (client.post(path, json=body, headers={"x-unit-id": str(uuid.uuid4())}) for _ in range(count))
        self.statuses.extend([answer.status_code for answer in await asyncio.gather(*asked)])

    async def rows(self, query: str) -> Sequence[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(query)
        except asyncpg.UndefinedTableError:
            return []
        finally:
            await connection.close()

    def servers(self) -> list[psutil.Process]:
        """The model servers that run for this test's model."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("GOLDENPATH_MODEL") == self.model:
                    found.append(process)
        return found


@pytest.fixture
async def process(
    kafka: str, database: Database, proxy: Proxy, artifacts: tuple[Path, dict[int, str]], tmp_path: Path, unique: str
) -> AsyncIterator[Process]:
    await create_topics(KafkaAccess(kafka))
    issuer = Issuer(tmp_path)
    store, digests = artifacts
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    async with siblings() as around:
        around.digests = digests
        around.example = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [0.1]}]})
        address = f"127.0.0.1:{around.port}"
        told = {
            "DATABASE_DSN": database.dsn,
            "KAFKA_BOOTSTRAP": kafka,
            "GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
            "HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
            "REGISTRY_ADDRESS": address,
            "GOVERNANCE_ADDRESS": address,
            "MONITOR_ADDRESS": address,
            "JWKS_PATH": str(issuer.jwks_path),
            "PROXY_FOLDER": str(proxy.folder),
            "PROXY_ADMIN": proxy.admin,
            "PROXY_URL": proxy.url,
            "ARTIFACTS_FOLDER": str(store),
            "MODELSERVERS_FOLDER": str(tmp_path / "modelservers"),
            "TRACES_FOLDER": str(tmp_path / "traces"),
            "LEASE_DURATION": "PT1S",
            "CONSUMER_SESSION_TIMEOUT": "PT6S",
        }
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {f"GOLDENPATH_{name}": value for name, value in told.items()}
        token = issuer.token("olga", Role.OPERATOR)
        made = Process(environment, tmp_path, around, producer, unique, token, proxy.url, database.dsn)
        made.start()
        yield made
        made.kill()
        for server in made.servers():
            server.kill()
    await producer.stop()


async def test_a_version_goes_live_is_replaced_and_comes_back_and_no_request_fails(process: Process) -> None:
    await process.approve(1)
    await process.serves(1)
    process.statuses.clear()  # before it served there was nothing to answer
    await process.meanwhile(lambda: _served(process, 520))
    await process.approve(2)
    state = await process.serves(2)
    x = np.linspace(-2, 2, 400)
    process.siblings.sample.inputs.append(modelserver_pb2.Column(name="x", numbers=x))
    process.siblings.sample.scores.extend(1 / (1 + np.exp(3 * x)))
    process.siblings.sample.outcomes.extend((x > 0).astype(float))
    signal_id = str(uuid.uuid4())
    found = monitor_pb2.Signal(id=signal_id, model=process.model, version=2, epoch=state.position.epoch)
    await process.tell("monitor.events", "drift.detected", monitor_pb2.DriftDetected(signal=found))
    await process.serves(1)
    decision = (await process.ask("GetDecision", pb2.GetDecisionRequest(id=signal_id))).decision
    assert decision.verb == events_pb2.VERB_ROLL_BACK
    assert decision.comparison.rows_with_outcome == 400
    await process.has_servers(2)  # both of version 1, and none of the one that was left for cause
    process.servers()[0].kill()
    await process.meanwhile(partial(_served, process, len(process.statuses) + 200))
    assert set(process.statuses) == {200}
    took = decision.effective_at.ToDatetime() - decision.decided_at.ToDatetime()
    assert took > timedelta()
    sent = await process.rows("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
    assert sent[0][0] >= 6


async def test_no_request_fails_though_the_servers_of_a_lone_version_are_killed_under_load(process: Process) -> None:
    await process.approve(1)
    await process.serves(1)
    await process.has_servers(2)
    process.statuses.clear()
    for _ in range(2):
        process.servers()[0].kill()
        await process.meanwhile(partial(_served, process, len(process.statuses) + 200))
        await process.has_servers(2)
    assert set(process.statuses) == {200}


async def _served(process: Process, count: int) -> bool:
    await asyncio.sleep(0)
    return len(process.statuses) >= count


async def test_a_rollout_finishes_though_the_deployer_is_killed_in_each_of_its_states(process: Process) -> None:
    await process.approve(1)
    await process.serves(1)
    process.statuses.clear()
    process.siblings.shadow = True
    await process.approve(2)
    for state in ORDER:
        await process.meanwhile(partial(_reached, process, state))
        await process.restart()
        process.siblings.answers.pairs = 1000 if state == "shadow" else 0  # else it might be past the state already
    await process.serves(2)
    assert set(process.statuses) == {200}
    history = (await process.ask("ListHistory", pb2.ListHistoryRequest(model=process.model))).entries
    happened = [entry.type.removeprefix("deployment.") for entry in reversed(history)]
    assert happened == ["started", "promoted", "started", "advanced", "promoted"]

    # The stable and the one to go back to: no server was started twice, and none was left behind.
    await process.has_servers(2)


async def _reached(process: Process, state: str) -> bool:
    rows = await process.rows("SELECT state FROM rollouts WHERE version = 2")
    return bool(rows) and ORDER.index(rows[0]["state"]) >= ORDER.index(state)


async def test_a_version_whose_bytes_were_changed_never_serves(
    process: Process, artifacts: tuple[Path, dict[int, str]], tmp_path: Path
) -> None:
    store, digests = artifacts
    changed = tmp_path / "store"
    shutil.copytree(store, changed)
    model_file = next((changed / "artifacts" / digests[1] / "files").glob("MLmodel"))
    model_file.write_bytes(model_file.read_bytes() + b" ")
    process.environment["GOLDENPATH_ARTIFACTS_FOLDER"] = str(changed)
    await process.restart()
    await process.approve(1)

    async def failed() -> str:
        state = await process.state()
        return state.rollout.judgement if state is not None and state.rollout.HasField("ended_at") else ""

    assert "MLmodel" in await process.meanwhile(failed)
    assert not process.servers()
