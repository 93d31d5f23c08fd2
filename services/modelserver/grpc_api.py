# ruff: noqa: N802 - the protocol names its methods so
"""The gRPC edge: the Open Inference Protocol's GRPCInferenceService, and the health service.

An error becomes a status by one table; an unknown one is INTERNAL without detail, logged once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from goldenpath.openinference.v2 import inference_pb2 as oip
from goldenpath.openinference.v2 import inference_pb2_grpc
from services.chassis.clock import Clock
from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable
from services.modelserver import grpc_tensors, metadata
from services.modelserver.inference import Answer, Inference, Served
from services.modelserver.meter import Meter
from services.modelserver.predict import Output
from services.modelserver.record_ids import text_of
from services.modelserver.rest import chosen
from services.modelserver.route import route_of

STATUS: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
_SERVICE: Final = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_log = structlog.get_logger()
Context = grpc.aio.ServicerContext[Any, Any]


class GrpcApi(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """The service.

    Args:
        inference: Answers.
        clock: Measures.
    """

    def __init__(self, inference: Inference, *, clock: Clock) -> None:
        self._inference = inference
        self._clock = clock
        self._meter = Meter("grpc")

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """Whether the process runs."""
        del request, context
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Whether it answers inference requests."""
        del request, context
        return oip.ServerReadyResponse(ready=self._inference.ready)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Whether the version answers inference requests."""
        await self._check(request.name, request.version, context)
        return oip.ModelReadyResponse(ready=self._inference.ready)

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """What the server is."""
        del request, context
        return oip.ServerMetadataResponse(name=metadata.SERVER_NAME, version=metadata.SERVER_VERSION)

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """What the version takes and gives."""
        await self._check(request.name, request.version, context)
        served = self._inference.served
        return oip.ModelMetadataResponse(
            name=served.model,
            versions=[served.version],
            platform=served.platform,
            inputs=[_described(one) for one in metadata.inputs_of(served)],
            outputs=[_described(one) for one in metadata.outputs_of(served)],
        )

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        """A prediction."""
        started = self._clock.monotonic()
        try:
            response = await self._answered(request, context)
        except GoldenpathError as error:
            self._meter.failed(type(error).__name__)
            await context.abort(_status(error), str(error))
        except Exception:  # noqa: BLE001 (the edge is where an unknown error ends: the log has it, the client not)
            _log.exception("an inference failed")
            self._meter.failed("Internal")
            await context.abort(grpc.StatusCode.INTERNAL, "the model failed on this request; the server's log has why")
        self._meter.answered(self._clock.monotonic() - started)
        return response

    async def _answered(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        served = self._inference.served
        self._inference.check_model(request.model_name, request.model_version)
        outputs = chosen(served.outputs, [output.name for output in request.outputs])
        headers = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        route = route_of(headers, served.arm)
        answer = await self._inference.infer(grpc_tensors.read(request), route)
        return _response(served, answer, outputs, raw=bool(request.raw_input_contents))

    async def _check(self, model: str, version: str, context: Context) -> None:
        try:
            self._inference.check_model(model, version)
        except NotFound as error:
            await context.abort(_status(error), str(error))


def _response(served: Served, answer: Answer, outputs: Sequence[Output], *, raw: bool) -> oip.ModelInferResponse:
    ids = [text_of(record_id) for record_id in answer.ids]
    response = oip.ModelInferResponse(model_name=served.model, model_version=served.version, id=ids[0])
    grpc_tensors.write(response, outputs, answer.prediction, raw=raw)
    if len(ids) > 1:
        response.parameters["record_ids"].string_param = ",".join(ids)
    return response


def _described(one: metadata.TensorMetadata) -> oip.ModelMetadataResponse.TensorMetadata:
    return oip.ModelMetadataResponse.TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape)


def _status(error: GoldenpathError) -> grpc.StatusCode:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)


class GrpcServer:
    """Serves the API.

    Args:
        api: The service.
        address: Where it listens, host:port; port 0 takes any free one.
        drain: How long calls in flight may take to finish.
        limit_bytes: The largest request.
    """

    def __init__(self, api: GrpcApi, address: str, *, drain: timedelta, limit_bytes: int) -> None:
        self._api = api
        self._address = address
        self._drain = drain
        self._limit_bytes = limit_bytes
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: the address is taken, or isn't this machine's.
        """
        options = [("grpc.max_receive_message_length", self._limit_bytes), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self._api, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise Unavailable("gRPC can't listen there: the address is taken", where=self._address) from error
        await self._server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Take no new calls, and let those in flight finish."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(self._drain.total_seconds())
