"""The demo's client: it tries nothing again, and its outcomes say all that the prediction's response said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from golden.demo.traffic import Traffic
from goldenpath.ingest.v1.events_pb2 import OutcomeRecorded
from goldenpath.modelserver.v1.events_pb2 import ARM_CANDIDATE
from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.chassis.topics import OUTCOMES, create_topics

RECORD_ID = "0199f2c4-7a1e-7c3d-9b52-6d1f0e8a4b17"


@dataclass(frozen=True)
class Applicant:
    inputs: dict[str, float]
    unit: str = "customer-1"
    label: str = "1"


@contextmanager
def gateway(status: int) -> Iterator[str]:
    """A proxy that gives every request the same answer, by a candidate with a quarter of the traffic; its URL."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"id": RECORD_ID, "model_version": "2"}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-goldenpath-arm", "candidate")
            self.send_header("x-goldenpath-probability", "0.25")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traffic(kafka: str, model: str, url: str) -> Iterator[Traffic[Applicant]]:
    records = repeat(Applicant({"age": 40.0}))
    made = Traffic(model, gateway=url, bootstrap=kafka, records=records, rate=50, label_delay=lambda _: timedelta())
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
async def broker(kafka: str) -> str:
    await create_topics(KafkaAccess(kafka), topics=[OUTCOMES])
    return kafka


async def test_an_outcome_names_record_arm_and_probability_as_the_response_did(broker: str, unique: str) -> None:
    with gateway(200) as url, traffic(broker, unique, url):
        outcome = await first_outcome(broker, unique)
    assert (outcome.record_id, outcome.unit, outcome.label) == (RECORD_ID, "customer-1", "1")
    assert (outcome.arm, outcome.assignment_probability) == (ARM_CANDIDATE, 0.25)


async def test_a_failed_request_is_counted_and_has_no_outcome(broker: str, unique: str) -> None:
    with gateway(503) as url, traffic(broker, unique, url) as sent:

        async def failed() -> bool:
            return sent.tally().failures >= 3

        await eventually(failed)
    assert sent.tally().failures == sent.tally().requests
    assert sent.tally().by_version == {}


async def first_outcome(kafka: str, model: str) -> OutcomeRecorded:
    found: list[OutcomeRecorded] = []

    async def arrived() -> bool:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            ours = [record for record in records if record.key == f"model/{model}".encode()]
            found.extend(OutcomeRecorded.FromString(record.value) for record in ours)
        return bool(found)

    async with AIOKafkaConsumer(OUTCOMES.name, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        await eventually(arrived, what="the outcome")
    return found[0]
