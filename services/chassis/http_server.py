"""An HTTP server on FastAPI: /livez, /readyz that tells the truth about each dependency, /metrics, problem details.

Errors are RFC 9457 problem details (`application/problem+json`) with the same what, where and fix as everywhere.
A route takes its caller with `caller: Caller = Depends(signed_in)`. A request has a deadline, the client's own where it
sends one (`prefer: wait=SECONDS`, RFC 7240), and its body a largest size.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, TooSlow, Unavailable
from services.chassis.identity import Caller, TokenVerifier, Unauthenticated, bearer

Check = Callable[[], Awaitable[None]]

STATUS: Final[dict[type[GoldenpathError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
    TooSlow: 504,
}
DEADLINE: Final = timedelta(seconds=30)
_WAIT: Final = re.compile(r"\bwait\s*=\s*(\d{1,6})\b")
_CHECK_TIMEOUT: Final = timedelta(seconds=2)
_LARGEST_BODY_BYTES: Final = 16 * 1024 * 1024
_INSIDE: Final = "something went wrong inside; its trace is in the service's log"
_log = structlog.get_logger()


def create_app(
    title: str,
    *,
    verifier: TokenVerifier,
    checks: Mapping[str, Check],
    lesser: Mapping[str, Check] | None = None,
    deadline: timedelta = DEADLINE,
) -> FastAPI:
    """An application with everything that all services have; a service adds its routers.

    Args:
        title: The service's name, for OpenAPI.
        verifier: Checks tokens.
        checks: By dependency, what raises while it isn't ready.
        lesser: The same for what the service goes on without, doing less.
        deadline: How long a request may take whose client doesn't say.
    """
    app = FastAPI(title=title, version="1", docs_url="/docs", redoc_url=None)
    app.state.verifier = verifier

    @app.get("/livez", tags=["operations"])
    async def livez() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz(response: Response) -> dict[str, str]:
        """Every dependency by name: ok, or what is wrong with it. 503 where one isn't ok, and not only degraded."""
        every = {**checks, **(lesser or {})}
        answers = dict(zip(every, await asyncio.gather(*map(_ask, every.values())), strict=True))
        response.status_code = 200 if all(answers[name] == "ok" for name in checks) else 503
        return {name: text if text == "ok" or name in checks else f"degraded: {text}" for name, text in answers.items()}

    @app.get("/metrics", tags=["operations"])
    async def metrics(request: Request) -> Response:
        """Metrics in Prometheus' text format, or where it is asked for in OpenMetrics', with traces as exemplars."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), media_type=kind)

    app.add_exception_handler(GoldenpathError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(StarletteHTTPException, _on_http)
    app.add_middleware(_Edge, deadline=deadline)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="livez,readyz,metrics")
    return app


async def signed_in(request: Request) -> Caller:
    """The caller of a request, for `Depends`.

    Raises:
        Unauthenticated: the token is missing or not valid.
    """
    verifier: TokenVerifier = request.app.state.verifier
    return verifier.verify(bearer(request.headers.get("authorization", "")))


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT.total_seconds()):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_TIMEOUT.total_seconds():g} s"
    except GoldenpathError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a check that fails in its own way isn't ready either
        _log.warning("a readiness check failed", exc_info=error)
        return f"the check failed: {type(error).__name__}"
    return "ok"


def _problem(error: GoldenpathError, status: int, *, title: str = "") -> JSONResponse:
    title = title or type(error).__name__
    body = {"type": "about:blank", "title": title, "status": status, "detail": error.what}
    more = {name: text for name, text in (("where", error.where), ("fix", error.fix)) if text}
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body | more, status, headers, media_type="application/problem+json")


async def _on_known(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, GoldenpathError) else Invalid(str(error))
    return _problem(known, next(STATUS[kind] for kind in type(known).__mro__ if kind in STATUS))


async def _on_malformed(_: Request, error: Exception) -> Response:
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    where = ", ".join(".".join(map(str, one["loc"])) for one in wrong)
    return _problem(Invalid("; ".join(str(one["msg"]) for one in wrong), where=where), 400)


async def _on_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, StarletteHTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    response = _problem(Invalid(str(getattr(error, "detail", error))), status, title=HTTPStatus(status).phrase)
    response.headers.update(getattr(error, "headers", None) or {})
    return response


class _Edge:
    """What surrounds every request: a deadline, a limit on its body, and an end for errors that nobody foresaw."""

    def __init__(self, app: Any, *, deadline: timedelta) -> None:
        self._app = app
        self._deadline_s = deadline.total_seconds()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(send)
        may_take_s = _asked_seconds(scope) or self._deadline_s
        try:
            async with asyncio.timeout(may_take_s) as limit:
                await self._app(scope, _Incoming(receive), outgoing)
        except Exception as error:
            if limit.expired() and not outgoing.started:
                late = TooSlow(f"it took longer than {may_take_s:g} s", fix="ask with  prefer: wait=SECONDS")
                await (await _on_known(Request(scope), late))(scope, receive, send)
                return
            _log.error("a request failed", path=scope["path"], exc_info=error)
            if outgoing.started:
                raise
            await _problem(GoldenpathError(_INSIDE), 500, title="Internal Server Error")(scope, receive, send)


def _asked_seconds(scope: Any) -> float:
    """How long the client is ready to wait; 0 where it doesn't say."""
    preferred = Headers(scope=scope).get("prefer", "")
    asked = _WAIT.search(preferred)
    return float(asked[1]) if asked else 0.0


class _Incoming:
    """Counts a body's bytes while they come, whatever its content-length says."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._bytes = 0

    async def __call__(self) -> Any:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > _LARGEST_BODY_BYTES:
            raise HTTPException(413, f"a body has at most {_LARGEST_BODY_BYTES} bytes")
        return message


class _Outgoing:
    """Knows whether a response has begun: then nothing else can be answered."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Any) -> None:
        self.started = True
        await self._send(message)


class HttpServer:
    """Serves an application on an address of its own.

    Args:
        app: The application.
        address: host:port; port 0 takes a free one.
        drain: How long requests in flight may take to finish.
    """

    def __init__(self, app: FastAPI, address: str, *, drain: timedelta) -> None:
        host, _, port = address.rpartition(":")
        config = uvicorn.Config(
            app,
            host=host,
            port=int(port),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(drain.total_seconds()),
            lifespan="off",
        )
        self._address = address
        self._server = _Quiet(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: the address is taken.
        """
        self._serving = asyncio.ensure_future(self._serve())
        while not self._server.started:
            if self._serving.done():
                raise Unavailable(f"HTTP can't listen on {self._address}: it is taken")
            await asyncio.sleep(0.01)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, and let requests in flight finish."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit:
            return  # uvicorn's way to say that it can't listen; `start` says it in words


class _Quiet(uvicorn.Server):
    """A server that leaves the process's signals to the runner."""

    def install_signal_handlers(self) -> None: ...

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()
