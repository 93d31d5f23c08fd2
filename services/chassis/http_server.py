"""An HTTP server on FastAPI: /livez, /readyz that tells the truth about each dependency, /metrics, problem details.

Errors are RFC 9457 problem details (`application/problem+json`) with the same what, where and fix as everywhere.
A route takes its caller with `caller: Caller = Depends(signed_in)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.identity import Caller, TokenVerifier, Unauthenticated, bearer

Check = Callable[[], Awaitable[None]]

STATUS: Final[dict[type[GoldenpathError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}
_CHECK_TIMEOUT: Final = timedelta(seconds=2)
_LARGEST_BODY_BYTES: Final = 16 * 1024 * 1024
_log = structlog.get_logger()


def create_app(title: str, *, verifier: TokenVerifier, checks: Mapping[str, Check]) -> FastAPI:
    """An application with everything that all services have; a service adds its routers.

    Args:
        title: The service's name, for OpenAPI.
        verifier: Checks tokens.
        checks: By dependency, what raises while it isn't ready.
    """
    app = FastAPI(title=title, version="1", docs_url="/docs", redoc_url=None)
    app.state.verifier = verifier

    @app.get("/livez", tags=["operations"])
    async def livez() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz(response: Response) -> dict[str, str]:
        """Every dependency by name: ok, or what is wrong with it. 503 where one isn't ok."""
        found = {name: await _ask(check) for name, check in checks.items()}
        response.status_code = 200 if all(text == "ok" for text in found.values()) else 503
        return found

    @app.get("/metrics", tags=["operations"])
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_exception_handler(GoldenpathError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unknown)
    app.add_middleware(_BodyLimit)
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
        await asyncio.wait_for(check(), _CHECK_TIMEOUT.total_seconds())
    except TimeoutError:
        return f"no answer within {_CHECK_TIMEOUT.total_seconds():g} s"
    except GoldenpathError as error:
        return str(error)
    return "ok"


class _BodyLimit:
    """Refuses bodies larger than anything that we take, before they are read."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and _length(scope) > _LARGEST_BODY_BYTES:
            error = Invalid(f"a body has at most {_LARGEST_BODY_BYTES} bytes", where="body")
            await _problem(error, 413)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _length(scope: dict[str, Any]) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def _problem(error: GoldenpathError, status: int) -> JSONResponse:
    body = {"type": "about:blank", "title": type(error).__name__, "status": status, "detail": error.what}
    more = {name: text for name, text in (("where", error.where), ("fix", error.fix)) if text}
    return JSONResponse(body | more, status, media_type="application/problem+json")


async def _on_known(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, GoldenpathError) else Invalid(str(error))
    return _problem(known, next(STATUS[kind] for kind in type(known).__mro__ if kind in STATUS))


async def _on_malformed(_: Request, error: Exception) -> Response:
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    where = ", ".join(".".join(map(str, one["loc"])) for one in wrong)
    return _problem(Invalid("; ".join(str(one["msg"]) for one in wrong), where=where), 400)


async def _on_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _problem(NotFound(str(getattr(error, "detail", error))), status)


async def _on_unknown(request: Request, error: Exception) -> Response:
    _log.error("a request failed", path=request.url.path, exc_info=error)
    return _problem(GoldenpathError("something went wrong inside; its trace is in the service's log"), 500)


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
