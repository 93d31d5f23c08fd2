"""The snippets for other systems, run as they stand: a real broker takes the event, a real server answers the question.

The server knows one deployment and is no deployer; all else is as in production: tokens, the contract, the topic.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from goldenpath.deployer.v1 import deployer_service_pb2 as pb2
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as services
from goldenpath.deployer.v1 import events_pb2 as events
from goldenpath.ingest.v1.events_pb2 import OutcomeRecorded
from goldenpath.modelserver.v1.events_pb2 import ARM_CANDIDATE
from services.chassis.cloudevents import body, read
from services.chassis.errors import NotFound
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.settings import KafkaAccess
from services.chassis.testing import Issuer, eventually
from services.chassis.topics import OUTCOMES, create_topics

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
NAME = "goldenpath.deployer.v1.DeployerService"
RECORD_ID = "0199f2c4-7a1e-7c3d-9b52-6d1f0e8a4b17"
PATIENCE = timedelta(seconds=120)  # npm fetches 34 packages on a cold cache; 15 s on two busy cores
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT")
IN_CI = os.environ.get("CI") == "true"


class Api(services.DeployerServiceServicer):
    """Knows one deployment."""

    def __init__(self, model: str) -> None:
        self._model = model

    async def GetDeployment(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the contract's own name
        if request.model != self._model:
            raise NotFound(f"there is no deployment of {request.model}")
        position = events.Position(model=self._model, environment="production", epoch=7, stable_version=3)
        rollout = pb2.Rollout(version=3, state=pb2.ROLLOUT_STATE_PROMOTED, weight=100)
        return pb2.GetDeploymentResponse(deployment=pb2.Deployment(position=position, rollout=rollout))


def expected(model: str) -> dict[str, Any]:
    """The deployment that Api knows, in the JSON of protobuf."""
    return {
        "position": {"model": model, "environment": "production", "epoch": "7", "stableVersion": 3},
        "rollout": {"version": 3, "state": "ROLLOUT_STATE_PROMOTED", "weight": 100},
    }


@pytest.fixture
async def environment(kafka: str, unique: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """What a snippet reads from its environment, with everything behind it running."""
    await create_topics(KafkaAccess(kafka), topics=[OUTCOMES])
    issuer = Issuer(tmp_path)
    api = Api(unique)  # type: ignore[abstract] # the other methods stay unimplemented, and nobody calls them
    register: Callable[[Any], None] = lambda made: services.add_DeployerServiceServicer_to_server(api, made)  # noqa: E731
    server = GrpcServer("127.0.0.1:0", [(NAME, register)], verifier=issuer.verifier(), drain=timedelta(seconds=1))
    await server.start()
    yield os.environ | {
        "KAFKA": kafka,
        "DEPLOYER": f"127.0.0.1:{server.port}",
        "TOKEN": issuer.token("billing", Role.SCIENTIST),
        "MODEL": unique,
        "RECORD_ID": RECORD_ID,
        "ARM": "candidate",
        "PROBABILITY": "0.25",
    }
    await server.stop()


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Node.js snippet with its packages, at the same distance from the contracts."""
    if not IN_CI and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm aren't installed; in CI they must be")
    tree = tmp_path_factory.mktemp("node")
    copy = tree / "docs" / "snippets" / "node"
    shutil.copytree(SNIPPETS / "node", copy, ignore=shutil.ignore_patterns("node_modules"))
    (tree / "protos").symlink_to(ROOT / "protos")
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(
        command, cwd=copy, capture_output=True, text=True, timeout=PATIENCE.total_seconds(), check=False
    )
    if done.returncode and not IN_CI and any(code in done.stderr for code in NO_NETWORK):
        pytest.skip("npm reaches no package registry; in CI it must")
    assert done.returncode == 0, done.stderr
    return copy


async def run(*command: str, environment: dict[str, str]) -> tuple[int | None, str, str]:
    """Run a snippet to its end: its status, what it printed, and what it complained of."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            printed, complaints = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, printed.decode(), complaints.decode()


async def record_of(kafka: str, model: str) -> ConsumerRecord[bytes, bytes]:
    """The first outcome about a model."""
    found: list[ConsumerRecord[bytes, bytes]] = []

    async def arrived() -> bool:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            found.extend(record for record in records if record.key == f"model/{model}".encode())
        return bool(found)

    async with AIOKafkaConsumer(OUTCOMES.name, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        await eventually(arrived, what="the outcome")
    return found[0]


async def check(environment: dict[str, str], *command: str) -> None:
    """Run a snippet; it ends well, prints the deployment, and its event is one that the suite reads."""
    status, printed, complaints = await run(*command, environment=environment)

    assert status == 0, complaints
    model = environment["MODEL"]
    assert json.loads(printed) == expected(model)

    record = await record_of(environment["KAFKA"], model)
    event = read(record.headers, record.value)
    assert (event.type, event.source, event.subject) == ("outcome.recorded", "billing", f"model/{model}")
    assert str(uuid.UUID(event.id)) == event.id
    outcome = body(event, OutcomeRecorded)
    assert (outcome.model, outcome.record_id, outcome.label) == (model, RECORD_ID, "1")
    assert (outcome.arm, outcome.assignment_probability) == (ARM_CANDIDATE, 0.25)
    assert outcome.occurred_at.seconds == int(event.time.timestamp())


async def test_the_python_snippet_publishes_an_outcome_and_prints_the_deployment(environment: dict[str, str]) -> None:
    await check(environment, sys.executable, str(SNIPPETS / "python" / "publish_and_ask.py"))


async def test_the_node_snippet_publishes_an_outcome_and_prints_the_deployment(
    node_folder: Path, environment: dict[str, str]
) -> None:
    await check(environment, "node", str(node_folder / "publish_and_ask.js"))


async def test_a_snippet_without_a_valid_token_ends_with_the_reason(environment: dict[str, str]) -> None:
    snippet = str(SNIPPETS / "python" / "publish_and_ask.py")
    status, printed, complaints = await run(sys.executable, snippet, environment=environment | {"TOKEN": "none"})

    assert (status, printed) == (1, "")
    assert "UNAUTHENTICATED" in complaints
