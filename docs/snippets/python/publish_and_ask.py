"""Tell Goldenpath what turned out to be true for a prediction, then ask what serves."""

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime

import grpc
from aiokafka import AIOKafkaProducer
from google.protobuf.json_format import MessageToJson

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as stubs


async def publish(kafka: str, model: str, served: dict[str, object]) -> None:
    """Publish outcome.recorded: a CloudEvent in one JSON object (structured mode)."""
    now = datetime.now(UTC).isoformat()
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),  # publish a retry with the same id: it counts once
        "source": "billing",  # your system
        "type": "outcome.recorded",
        "subject": f"model/{model}",
        "time": now,
        "data": {"model": model, "label": "1", "occurredAt": now, **served},
    }
    key, value = f"model/{model}".encode(), json.dumps(event).encode()
    headers = [("content-type", b"application/cloudevents+json")]
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait("inference.outcomes", value, key=key, headers=headers)


async def ask(address: str, token: str, model: str) -> deployer.Deployment:
    """Ask for the deployment; an answer takes at most 5 seconds."""
    async with grpc.aio.insecure_channel(address) as channel:
        request, metadata = deployer.GetDeploymentRequest(model=model), [("authorization", f"Bearer {token}")]
        answer = await stubs.DeployerServiceStub(channel).GetDeployment(request, metadata=metadata, timeout=5)
        return answer.deployment


env = os.environ
served = {  # what the prediction's response said: keep it until you know the outcome
    "recordId": env["RECORD_ID"],
    "arm": f"ARM_{env['ARM'].upper()}",
    "assignmentProbability": float(env["PROBABILITY"]),
}
asyncio.run(publish(env["KAFKA"], env["MODEL"], served))
print(MessageToJson(asyncio.run(ask(env["DEPLOYER"], env["TOKEN"], env["MODEL"]))))
