"""Features end to end: told on Kafka, served by a model behind the proxy, recorded, and held against their history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.cloudevents import headers_of
from services.chassis.testing import emitted, eventually
from services.features.definitions import views_of
from tests.e2e.world import MODEL, World, embedded, trained

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

PATIENCE = timedelta(seconds=120)
REPOSITORY = """
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Float64

person = Entity(name="person", value_type=ValueType.STRING)
work = FeatureView(
    name="work",
    entities=[person],
    schema=[Field(name="hours", dtype=Float64)],
    source=PostgreSQLSource(
        name="work_history", table="work_history", timestamp_field="event_time", created_timestamp_column="kept_at"
    ),
)
people = FeatureService(name="people", features=[work])
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A platform with a feature store, and two runs, of which the second takes hours."""
    repo = tmp_path_factory.mktemp("feature_repo")
    (repo / "definitions.py").write_text(REPOSITORY)
    with embedded(features=repo) as running:
        yield World(running.home, running, trained(running, 2))


def settings(world: World) -> events.FeatureSettings:
    message = events.FeatureSettings(service="people", fallback=events.FEATURE_FALLBACK_FAIL)
    message.deadline.FromTimedelta(timedelta(seconds=5))
    for view in views_of(Path(world.running.state.features), "people"):
        message.views.add(name=view.name, digest=view.digest, inputs=view.inputs, keys=view.keys)
    return message


async def tell(world: World, person: str, hours: float) -> None:
    row = FeatureRow(keys={"person": person}, numbers={"hours": hours})
    row.event_time.FromDatetime(datetime.now(UTC))
    body = FeaturesComputed(view="work", rows=[row])
    event = emitted(body, "features.computed", subject="features/work", sequence=None, source="tests")
    bootstrap = world.running.endpoints().kafka.bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait("ingest.features", event.data, key=b"work", headers=headers_of(event))


def request(**inputs: Any) -> dict[str, Any]:
    datatypes = {str: "BYTES", float: "FP64"}
    return {
        "inputs": [
            {"name": name, "datatype": datatypes[type(value)], "shape": [1], "data": [value]}
            for name, value in inputs.items()
        ]
    }


async def test_what_the_stream_tells_is_what_the_model_sees(world: World) -> None:
    version = await asyncio.to_thread(lambda: world.register(2, features=settings(world)))

    async def approved() -> bool:
        with suppress(grpc.RpcError):  # governance hasn't judged it yet
            await asyncio.to_thread(world.approve, version)
            return True
        return False

    await eventually(approved, within=PATIENCE, what="an approval")

    async def serves() -> bool:
        with suppress(grpc.RpcError):  # nothing was deployed yet
            deployment = await asyncio.to_thread(world.deployment)
            return deployment.position.stable_version == version and deployment.effective
        return False

    await eventually(serves, within=PATIENCE, what="the version")
    await tell(world, "ann", 20.0)
    path, replay = f"/v2/models/{MODEL}/infer", {"x-goldenpath-arm": "replay"}
    server = world.deployment().endpoints[0].http_address
    async with httpx.AsyncClient(timeout=20) as client:
        gateway = world.running.endpoints().gateway

        async def answer() -> Any:
            response = await client.post(gateway + path, json=request(age=40.0, person="ann"))
            return response.json() if response.is_success else None

        served = await eventually(answer, within=PATIENCE, what="a prediction with features")
        whole = await client.post(f"http://{server}{path}", json=request(age=40.0, hours=20.0), headers=replay)
        assert served["outputs"] == whole.json()["outputs"]
        unknown = await client.post(gateway + path, json=request(age=40.0, person="nobody"))
        assert unknown.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "work: unknown" in unknown.json()["error"]

    at_risk = world.as_("ada", "scientist").registry.SearchVersions(registry.SearchVersionsRequest(feature_view="work"))
    assert [(one.registered.model, one.registered.version) for one in at_risk.versions] == [(MODEL, version)]

    async def proven() -> Any:
        connection = await asyncpg.connect(world.dsn("monitor"))
        try:
            return await connection.fetchval(
                "SELECT body FROM proofs WHERE view = 'work' AND (body->>'compared')::integer > 0"
            )
        finally:
            await connection.close()

    proof = json.loads(await eventually(proven, within=PATIENCE, what="a proof"))
    assert proof["differing"] == 0
