"""The HTTP edge for KServe's logger: it posts each request and each response, and we put them on the topic of records.

What a service serves stands in the `url` that its logger posts to, beside the storage that it loads from:

    logger: {mode: all, url: "https://monitor.example/v1/kserve/credit-prescreen/3?columns=age,education"}

It is answered 202 once Kafka has it on all replicas in sync, and not before. The logger knows no tokens, but Go's
client sends the user information of a URL as basic authentication, whose password is a token here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request

from goldenpath.ingest.v1.events_pb2 import InferenceLogged
from services.chassis.clock import Clock
from services.chassis.cloudevents import CloudEvent, event_of, headers_of
from services.chassis.errors import Invalid, Unavailable
from services.chassis.identity import Caller, Role, TokenVerifier, bearer
from services.chassis.settings import KafkaAccess
from services.monitor import kserve, logged

LARGEST_BYTES: Final = 900_000  # Kafka's default limit for a message is 1,048,588 bytes; its headers need room, too
_WITHIN: Final = timedelta(seconds=10)  # the logger has a hundred requests in memory, and waits for none longer
Number = Annotated[int, Query(ge=0, le=2**31 - 1)]


class RecordsWriter:
    """Writes events to the topic of records.

    Args:
        kafka: Where Kafka is, and as whom we come.
        topic: The topic's name.
    """

    def __init__(self, kafka: KafkaAccess, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def write(self, event: CloudEvent, key: bytes) -> None:
        """Write an event; when it returns, all replicas in sync have it.

        Raises:
            Unavailable: Kafka doesn't answer, or doesn't take it. It may have it nevertheless.
        """
        try:
            producer = await self._started()
            await producer.send_and_wait(self._topic, event.data, key=key, headers=headers_of(event))
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka doesn't take it: {error}", fix="send it again") from None

    async def close(self) -> None:
        """Close the connection, after what is in flight."""
        if self._producer is not None:
            await self._producer.stop()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                within_ms = int(_WITHIN.total_seconds() * 1000)
                producer = AIOKafkaProducer(
                    **self._kafka.client(), acks="all", enable_idempotence=True, request_timeout_ms=within_ms
                )
                await producer.start()
                self._producer = producer
            return self._producer


def router(writer: RecordsWriter, clock: Clock) -> APIRouter:
    """The routes for KServe."""
    routes = APIRouter(prefix="/v1/kserve", tags=["kserve"])

    @routes.post("/{model}/{version}", status_code=202)
    async def log(
        request: Request,
        model: str,
        version: Annotated[int, Path(ge=1, le=2**31 - 1)],
        caller: Annotated[Caller, Depends(_logger)],
        environment: str = "production",
        epoch: Number = 0,
        role: Annotated[str, Query(pattern="^(stable|candidate)$")] = "stable",
        columns: str = "",
        ce_id: Annotated[str, Header(max_length=logged.LONGEST_ID)] = "",
        ce_type: Annotated[str, Header()] = "",
        ce_time: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        """Take one side of a request that KServe's logger posts. `columns` names values that come without names."""
        caller.require(Role.SERVICE, Role.OPERATOR)
        side = _side_of(ce_type, await _body(request), [name for name in columns.split(",") if name])
        if not ce_id:
            raise Invalid("a logged request has an id", where="ce-id")
        side.model, side.version, side.environment, side.epoch = model, version, environment, epoch
        side.candidate, side.request_id = role == "candidate", ce_id
        now = clock.now()
        side.event_time.FromDatetime(_time(ce_time, now))
        event = event_of(side, type="inference.logged", source="goldenpath/monitor", subject=f"model/{model}", time=now)
        if len(event.data) > LARGEST_BYTES:
            raise HTTPException(413, f"a side of a request has at most {LARGEST_BYTES:,} bytes")
        await writer.write(event, ce_id.encode())
        return {"records": len(side.inputs) or len(side.answers)}

    return routes


async def _logger(request: Request) -> Caller:
    verifier: TokenVerifier = request.app.state.verifier
    value = request.headers.get("authorization", "")
    return verifier.verify(bearer(value) or _password(value))


def _password(value: str) -> str:
    """The password of basic authentication (RFC 7617); empty where there is none."""
    scheme, _, told = value.partition(" ")
    try:
        _, _, password = base64.b64decode(told if scheme.lower() == "basic" else "", validate=True).partition(b":")
        return password.decode("ascii")
    except (binascii.Error, ValueError):
        return ""


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BYTES:
            raise HTTPException(413, f"a side of a request has at most {LARGEST_BYTES:,} bytes")
    return bytes(body)


def _side_of(ce_type: str, body: bytes, columns: list[str]) -> InferenceLogged:
    if ce_type == kserve.REQUEST:
        return InferenceLogged(inputs=kserve.inputs_of(body, columns))
    if ce_type == kserve.RESPONSE:
        return InferenceLogged(answers=kserve.answers_of(body))
    raise Invalid(f"{ce_type[:80]!r} is neither {kserve.REQUEST} nor {kserve.RESPONSE}", where="ce-type")


def _time(text: str, now: datetime) -> datetime:
    """When a side was seen; now where it isn't told."""
    try:
        told = datetime.fromisoformat(text) if text else now
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{text[:80]!r} is no RFC 3339 time", where="ce-time") from None
