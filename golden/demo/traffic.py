"""The demo's client: real held-out records through the proxy, without retries, and their labels seconds later.

It runs on a thread of its own, so that the story can be told as a story. A request fails when the proxy doesn't
answer it with 200; nothing is tried again, so that a failure can't hide.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import httpx
from aiokafka import AIOKafkaProducer

from golden.inference import request_of
from goldenpath.ingest.v1 import events_pb2 as ingest
from goldenpath.modelserver.v1 import events_pb2 as modelserver
from services.chassis.cloudevents import event_of, headers_of
from services.chassis.topics import OUTCOMES

_WORKERS: Final = 8  # requests in flight at once
_TIMEOUT: Final = timedelta(seconds=10)
_SHOWN_ERRORS: Final = 5
_ARMS: Final = {"stable": modelserver.ARM_STABLE, "candidate": modelserver.ARM_CANDIDATE}


class Record(Protocol):
    """A held-out record, as the example's feed gives it."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The model's inputs by name."""
        ...

    @property
    def unit(self) -> str:
        """The customer that it is about."""
        ...

    @property
    def label(self) -> str:
        """What turned out to be true, as the model's signature names it."""
        ...


R = TypeVar("R", bound=Record)


class Served(NamedTuple):
    """What a prediction's response says of its record: all that its outcome has to name, however late it comes."""

    record_id: str
    arm: modelserver.Arm.ValueType
    probability: float


Known: TypeAlias = tuple[Served, R]
"""A record whose outcome is known now."""


@dataclass
class Tally:
    """What became of the requests so far; by version how many it answered, and the newest one's record id."""

    requests: int = 0
    failures: int = 0
    by_version: dict[str, int] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def since(self, before: Tally) -> Tally:
        """What came after an earlier tally."""
        return Tally(self.requests - before.requests, self.failures - before.failures)

    def copy(self) -> Tally:
        """The tally as it stands."""
        return Tally(self.requests, self.failures, dict(self.by_version), dict(self.newest), list(self.errors))


class Traffic(Generic[R]):
    """A feed of records for one model.

    Args:
        model: The model's name.
        gateway: The proxy's URL.
        bootstrap: Kafka's bootstrap servers.
        records: The records, without end.
        rate: Requests a second at the most.
        label_delay: How long after a record's prediction its outcome becomes known.
    """

    def __init__(
        self,
        model: str,
        *,
        gateway: str,
        bootstrap: str,
        records: Iterator[R],
        rate: float,
        label_delay: Callable[[R], timedelta],
    ) -> None:
        self._model = model
        self._url = f"{gateway}/v2/models/{model}/infer"
        self._bootstrap = bootstrap
        self._records = records
        self._rate = rate
        self._delay = label_delay
        self._tally = Tally()
        self._change: Callable[[R], R] = _as_it_is
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for what is in flight."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def tally(self) -> Tally:
        """What became of the requests so far."""
        return self._tally.copy()

    def break_with(self, fault: Callable[[R], R]) -> None:
        """From now on, every record goes through a fault."""
        self._change = fault

    def repair(self) -> None:
        """From now on, records are as they are."""
        self._change = _as_it_is

    async def _run(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        outcomes: asyncio.Queue[Known[R]] = asyncio.Queue()
        telling = asyncio.ensure_future(self._tell(producer, outcomes))
        limits = httpx.Limits(max_connections=_WORKERS, max_keepalive_connections=_WORKERS)
        transport = httpx.AsyncHTTPTransport(retries=0, limits=limits)
        async with httpx.AsyncClient(transport=transport, timeout=_TIMEOUT.total_seconds()) as client:
            await asyncio.gather(*[self._send(client, outcomes, worker) for worker in range(_WORKERS)])
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await producer.stop()

    async def _send(self, client: httpx.AsyncClient, outcomes: asyncio.Queue[Known[R]], worker: int) -> None:
        pause = _WORKERS / self._rate
        loop = asyncio.get_running_loop()
        due = loop.time() + worker / self._rate
        while not self._stopping.is_set():
            await asyncio.sleep(max(due - loop.time(), 0.0))
            due = max(due + pause, loop.time() - pause)
            record = self._change(next(self._records))
            served = await self._ask(client, record)
            if served is not None:
                loop.call_later(self._delay(record).total_seconds(), outcomes.put_nowait, (served, record))

    async def _ask(self, client: httpx.AsyncClient, record: R) -> Served | None:
        """Send one record; None where it failed."""
        self._tally.requests += 1
        try:
            body = request_of(record.inputs)
            answer = await client.post(self._url, json=body, headers={"x-unit-id": record.unit})
        except httpx.HTTPError as error:
            self._failed(f"{type(error).__name__}: {error}")
            return None
        if answer.status_code != httpx.codes.OK:
            self._failed(f"{answer.status_code}: {answer.text[:200]}")
            return None
        document = answer.json()
        version = str(document.get("model_version", "?"))
        self._tally.by_version[version] = self._tally.by_version.get(version, 0) + 1
        self._tally.newest[version] = str(document["id"])
        arm, probability = (answer.headers.get(f"x-goldenpath-{name}", "") for name in ("arm", "probability"))
        return Served(str(document["id"]), _ARMS.get(arm, modelserver.ARM_UNSPECIFIED), float(probability or 0))

    def _failed(self, what: str) -> None:
        self._tally.failures += 1
        if len(self._tally.errors) < _SHOWN_ERRORS:
            self._tally.errors.append(what)

    async def _tell(self, producer: AIOKafkaProducer, outcomes: asyncio.Queue[Known[R]]) -> None:
        while True:
            served, record = await outcomes.get()
            now = datetime.now(UTC)
            body = ingest.OutcomeRecorded(
                model=self._model,
                record_id=served.record_id,
                label=record.label,
                unit=record.unit,
                arm=served.arm,
                assignment_probability=served.probability,
            )
            body.occurred_at.FromDatetime(now)
            subject = f"model/{self._model}"
            event = event_of(body, type="outcome.recorded", source="demo/bureau", subject=subject, time=now)
            await producer.send(OUTCOMES.name, event.data, key=subject.encode(), headers=headers_of(event))


def _as_it_is(record: R) -> R:
    return record
