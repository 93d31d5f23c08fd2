"""The HTTP edge: the Open Inference Protocol's REST API, and Prometheus' /metrics.

    GET  /v2/health/live  /v2/health/ready                 the process, and whether it takes requests
    GET  /v2              /v2/models/M[/versions/V]        metadata; …/ready for a model
    POST /v2/models/M[/versions/V]/infer                   a prediction

Everything goes through Starlette's router but the last, which is a bare ASGI function: it is what the server is for,
and a router, a request object and a response object cost it a tenth of its throughput.

An error's body is the protocol's: `{"error": "what is wrong, and where"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import Receive, Scope, Send

from services.chassis.clock import Clock
from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable
from services.modelserver import metadata, rest
from services.modelserver.inference import Inference, Served
from services.modelserver.meter import Meter
from services.modelserver.record_ids import text_of
from services.modelserver.route import Arm, route_of


class TooLarge(Invalid):
    """The body is larger than the server takes."""


class Gone(Exception):
    """The client went away before its request was whole."""


STATUS: Final[Mapping[type[Exception], int]] = {TooLarge: 413, Invalid: 400, NotFound: 404, Unavailable: 503}
_TOO_LARGE: Final = STATUS[TooLarge]
_INTERNAL: Final = 500
_PATIENCE: Final = (
    4  # limits that are read of a body that is too large: whoever is cut off sooner never reads the answer
)
_JSON: Final = (b"content-type", b"application/json")
_Header = tuple[bytes, bytes]
_log = structlog.get_logger()


class HttpApi:
    """The ASGI application.

    Args:
        inference: Answers.
        clock: Measures.
        limit_bytes: The largest body.
    """

    def __init__(self, inference: Inference, *, clock: Clock, limit_bytes: int) -> None:
        served = inference.served
        self._inference = inference
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._meter = Meter("http")
        self._infer_paths = {
            f"/v2/models/{served.model}/infer",
            f"/v2/models/{served.model}/versions/{served.version}/infer",
        }
        self._others = _router(inference, self._meter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope.get("path") in self._infer_paths and scope["method"] == "POST":
            await self._infer(scope, receive, send)
        else:
            await self._others(scope, receive, send)

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            status, body, more = await self._answered(headers, receive)
        except Gone:
            return
        except GoldenpathError as error:
            self._meter.failed(_kind(error))
            status, body, more = _status(error), _error(str(error)), []
        except Exception:  # noqa: BLE001 (the edge is where an unknown error ends: the log has it, the client not)
            _log.exception("an inference failed", request=headers.get("x-request-id", ""))
            self._meter.failed("Internal")
            status, body, more = _INTERNAL, _error("the model failed on this request; the server's log has why"), []
        if status == _TOO_LARGE:
            more = [(b"connection", b"close")]  # the rest of the body is not read
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *more]})
        await send({"type": "http.response.body", "body": body})

    async def _answered(self, headers: Mapping[str, str], receive: Receive) -> tuple[int, bytes, list[_Header]]:
        body = await _body(receive, headers, self._limit_bytes)
        started = self._clock.monotonic()
        served = self._inference.served
        tensors, wanted = rest.read(body)
        outputs = rest.chosen(served.outputs, wanted)
        answer = await self._inference.infer(tensors, route_of(headers, served.arm))
        written = rest.write(served, answer, outputs)
        self._meter.answered(self._clock.monotonic() - started)
        ids = answer.ids
        return 200, written, [(b"x-goldenpath-record-id", text_of(ids[0]).encode())] if len(ids) == 1 else []


async def _body(receive: Receive, headers: Mapping[str, str], limit_bytes: int) -> bytes:
    if "inference-header-content-length" in headers:
        raise Invalid("binary tensors aren't known here; send JSON (tritonclient: binary_data=False)", where="body")
    message = await receive()
    body = bytearray(message.get("body", b""))
    size = len(body)
    while message.get("more_body", False) and size <= _PATIENCE * limit_bytes:
        message = await receive()
        size += len(message.get("body", b""))
        body += message.get("body", b"") if size <= limit_bytes else b""
    if message["type"] == "http.disconnect":
        raise Gone
    if size > limit_bytes:
        raise TooLarge(f"larger than {limit_bytes} bytes", where="body", fix="send fewer rows at a time")
    return bytes(body)


def _router(inference: Inference, meter: Meter) -> Starlette:
    async def live(_: Request) -> Response:
        return _json({"live": True})

    async def ready(_: Request) -> Response:
        return _json({"ready": inference.ready}, 200 if inference.ready else STATUS[Unavailable])

    async def server(_: Request) -> Response:
        return _json({"name": metadata.SERVER_NAME, "version": metadata.SERVER_VERSION, "extensions": []})

    async def model(request: Request) -> Response:
        _check(request)
        replay = request.headers.get("x-goldenpath-arm") == Arm.REPLAY.value
        return _json(_described(inference.served, whole=replay))

    async def model_ready(request: Request) -> Response:
        _check(request)
        status = 200 if inference.ready else STATUS[Unavailable]
        return _json({"name": inference.served.model, "ready": inference.ready}, status)

    async def infer_other(request: Request) -> Response:
        meter.failed("NotFound")
        _check(request)
        raise NotFound("no such path", where=request.url.path)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    def _check(request: Request) -> None:
        inference.check_model(request.path_params["model"], request.path_params.get("version", ""))

    paths = [
        Path("/v2/health/live", live),
        Path("/v2/health/ready", ready),
        Path("/v2", server),
        Path("/metrics", metrics),
    ]
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        paths += [
            Path(base, model),
            Path(f"{base}/ready", model_ready),
            Path(f"{base}/infer", infer_other, methods=["POST"]),
        ]
    return Starlette(routes=paths, exception_handlers={GoldenpathError: _refused, HTTPException: _no_route})


def _described(served: Served, *, whole: bool) -> dict[str, Any]:
    return {
        "name": served.model,
        "versions": [served.version],
        "platform": served.platform,
        "inputs": [tensor._asdict() for tensor in metadata.inputs_of(served, whole=whole)],
        "outputs": [tensor._asdict() for tensor in metadata.outputs_of(served)],
    }


async def _refused(_: Request, error: Exception) -> Response:
    return Response(_error(str(error)), _status(error), media_type="application/json")


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else _INTERNAL
    return Response(
        _error(f"{request.method} {request.url.path}: {HTTPStatus(status).phrase}"),
        status,
        media_type="application/json",
    )


def _status(error: Exception) -> int:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), _INTERNAL)


def _kind(error: GoldenpathError) -> str:
    return "Invalid" if isinstance(error, Invalid) else type(error).__name__


def _error(sentence: str) -> bytes:
    return orjson.dumps({"error": sentence})


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
