"""The one thing that the server does, whichever edge was asked: check, predict, record.

Small requests are predicted on the event loop, together with what arrives beside them (`gathering`): handing one to a
thread and back costs about as much as a small model, and scikit-learn holds the interpreter for most of it anyway. A
request of more than GATHERED_ROWS rows goes to one worker thread, so that health checks and small requests still get
their turns.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanKind

from services.chassis import telemetry
from services.chassis.clock import Clock
from services.chassis.errors import NotFound
from services.modelserver import instruments
from services.modelserver.columns import Entry
from services.modelserver.features import Features, Gave
from services.modelserver.gathering import GATHERED_ROWS, Gathering
from services.modelserver.predict import Output, Prediction, Predictor
from services.modelserver.record_ids import new_ids
from services.modelserver.records import Buffer
from services.modelserver.route import Arm, Route
from services.modelserver.schema import Rows, Schema, Tensor
from services.modelserver.signature import Input, Signature

_SAMPLED_TRACEPARENT: Final = 55  # characters of a W3C traceparent, whose last hex digit carries the sampled flag


@dataclass(frozen=True, slots=True)
class Served:
    """What the server serves, and in which role.

    `arm` is None where each request's header says it. `asked` is what a request brings where some inputs are read from
    the feature store; empty: all inputs of the signature.
    """

    model: str
    version: str
    platform: str
    signature: Signature
    outputs: tuple[Output, ...]
    arm: Arm | None = None
    asked: tuple[Input, ...] = ()


class Answer(NamedTuple):
    """A prediction, and the ids under which its records stand, one per row."""

    ids: list[bytes]
    prediction: Prediction


class Inference:
    """Answers inference requests for one version.

    Args:
        served: What it is.
        schema: Checks requests.
        predictor: Predicts.
        gathering: Predicts small requests together; None where the model needs each by itself.
        buffer: Takes records.
        features: Reads what the feature store has; None where requests bring all inputs.
        clock: Gives record times, and measures.
        trace_ratio: The share of requests without a trace of their own that get one.
    """

    def __init__(
        self,
        served: Served,
        schema: Schema,
        predictor: Predictor,
        gathering: Gathering | None,
        buffer: Buffer,
        *,
        features: Features | None = None,
        clock: Clock,
        trace_ratio: float,
    ) -> None:
        self.served = served
        self.ready = True
        self._schema = schema
        self._predictor = predictor
        self._gathering = gathering
        self._buffer = buffer
        self._features = features
        self._clock = clock
        self._trace_ratio = trace_ratio
        self._span_name = f"infer {served.model}"
        self._large = ThreadPoolExecutor(1, thread_name_prefix="predict")

    def check_model(self, model: str, version: str) -> None:
        """Check that a request is for what is served; an empty version is.

        Raises:
            NotFound: it is for something else.
        """
        served = self.served
        if model != served.model or version not in {"", served.version}:
            asked = f"{model}@{version}" if version else model
            raise NotFound(f"{asked!r:.80} isn't here; this server has {served.model}@{served.version}", where="model")

    async def infer(self, tensors: Sequence[Tensor], route: Route) -> Answer:
        """Predict, and leave a record.

        Raises:
            Invalid: the request doesn't fit the signature.
            Unavailable: it can't be answered without the feature store.
        """
        if not self._sampled(route.traceparent):
            return await self._infer(tensors, route, "")
        with telemetry.span(self._span_name, kind=SpanKind.SERVER, parent=route.traceparent) as span:
            answer = await self._infer(tensors, route, telemetry.current_traceparent())
            span.set_attributes(self._attributes(route, len(answer.ids)))
            return answer

    def _sampled(self, traceparent: str) -> bool:
        if len(traceparent) == _SAMPLED_TRACEPARENT:
            return traceparent[-1] in "13579bdf"
        return random.random() < self._trace_ratio  # noqa: S311 (a sample, not a secret)

    async def _infer(self, tensors: Sequence[Tensor], route: Route, trace: str) -> Answer:
        rows, reading = await self._rows(tensors, route.arm)
        started = self._clock.monotonic()
        prediction = await self._predicted(rows)
        duration_us = int((self._clock.monotonic() - started) * 1e6)
        time_us = int(self._clock.now().timestamp() * 1e6)
        ids = new_ids(time_us // 1000, rows.size)
        instruments.ROWS.inc(rows.size)
        if route.arm is not Arm.REPLAY:
            self._buffer.add(Entry(route, ids, time_us, rows, prediction, duration_us, trace, reading))
        return Answer(ids, prediction)

    async def _rows(self, tensors: Sequence[Tensor], arm: Arm) -> tuple[Rows, Gave | None]:
        if self._features is None or arm is Arm.REPLAY:
            return self._schema.rows(tensors), None
        return await self._features.rows(tensors)

    async def _predicted(self, rows: Rows) -> Prediction:
        if rows.size > GATHERED_ROWS:
            return await asyncio.get_running_loop().run_in_executor(self._large, self._predictor.predict, rows)
        if self._gathering is None:
            return self._predictor.predict(rows)
        return await self._gathering.predict(rows)

    def _attributes(self, route: Route, rows: int) -> dict[str, Any]:
        return {
            "goldenpath.model": self.served.model,
            "goldenpath.version": self.served.version,
            "goldenpath.epoch": route.epoch,
            "goldenpath.arm": route.arm.value,
            "goldenpath.rows": rows,
        }
