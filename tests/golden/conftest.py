"""A platform that says what a test tells it to: real gRPC and HTTP servers, real tokens, and no service behind them.

platform    the four services' addresses in the environment; `answers` by the method's name, `asked` is what came
golden      runs a command in this process
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from golden.__main__ import main
from golden.session import ACTING_AS, connect
from goldenpath.deployer.v1 import deployer_service_pb2_grpc as deployer_grpc
from goldenpath.governance.v1 import governance_service_pb2_grpc as governance_grpc
from goldenpath.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from goldenpath.registry.v1 import registry_service_pb2_grpc as registry_grpc
from services.chassis import telemetry
from services.chassis.errors import NotFound
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.testing import Issuer

_SERVICES: dict[str, Callable[[Any, Any], None]] = {
    "registry": registry_grpc.add_RegistryServiceServicer_to_server,
    "governance": governance_grpc.add_GovernanceServiceServicer_to_server,
    "deployer": deployer_grpc.add_DeployerServiceServicer_to_server,
    "monitor": monitor_grpc.add_MonitorServiceServicer_to_server,
}
_EVERYTHING = [role for role in Role if role is not Role.SERVICE]


@dataclass
class Platform:
    """What it answers, and what it was asked.

    Args:
        answers: By gRPC method: a message, a list of them for a stream, an error, or a function of the request.
        pages: By HTTP method and path, such as "GET /v2/models/credit": the status and the body.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def __getattr__(self, method: str) -> Any:
        """Every method of every service."""
        return self._stream(method) if method.startswith("Watch") else self._unary(method)

    def _unary(self, method: str) -> Any:
        async def answer(request: Any, _context: Any) -> Any:
            self.asked.append((method, request))
            answer = self.answers.get(method, NotFound(f"this test has no answer to {method}"))
            return _given(answer(request) if callable(answer) else answer)

        return answer

    def _stream(self, method: str) -> Any:
        async def answer(request: Any, _context: Any) -> AsyncIterator[Any]:
            self.asked.append((method, request))
            for one in self.answers[method]:
                yield _given(one)

        return answer

    def request(self, method: str) -> Any:
        """What a method was asked last."""
        return [request for name, request in self.asked if name == method][-1]


def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, for a program."""
        return json.loads(self.out)


Golden = Callable[..., Ended]


@pytest.fixture
def golden(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Golden]:
    """Runs a command in this process; spans go nowhere, since the process is the tests' own."""
    monkeypatch.setattr(telemetry, "configure", lambda *_, **__: None)
    connect.cache_clear()

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["golden", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    yield run
    connect.cache_clear()
    ACTING_AS.set("")


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Who makes the tokens."""
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def platform(issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Platform]:
    """The platform, named by environment variables; whoever asks may do everything."""
    told = Platform()
    with _grpc(told, issuer) as address, _http(told) as url:
        for service in _SERVICES:
            monkeypatch.setenv(f"GOLDEN_{service.upper()}", address)
            monkeypatch.setenv(f"GOLDEN_{service.upper()}_HTTP", f"{url}/{service}")
            told.pages[f"GET /{service}/readyz"] = (200, {"database": "ok"})
            told.pages[f"GET /{service}/v1/deadletters"] = (200, {"letters": [], "next_after": None})
            told.pages[f"GET /{service}/v1/parked"] = (200, [])
        monkeypatch.setenv("GOLDEN_GATEWAY", url)
        monkeypatch.setenv("GOLDEN_TRACES", str(tmp_path / "traces"))
        monkeypatch.setenv("GOLDEN_TOKEN", issuer.token("ada", *_EVERYTHING))
        yield told


class _grpc:  # noqa: N801 - read as a verb: with _grpc(told, issuer)
    """One gRPC server for all services, on a loop of its own: the command line asks without asyncio."""

    def __init__(self, told: Platform, issuer: Issuer) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake platform")
        services: list[tuple[str, Callable[[Any], None]]] = [
            (name, lambda made, add=add: add(told, made))  # type: ignore[misc] # mypy can't type a bound default
            for name, add in _SERVICES.items()
        ]
        self._server = GrpcServer("127.0.0.1:0", services, verifier=issuer.verifier(), drain=timedelta(seconds=1))

    def __enter__(self) -> str:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result()
        return f"127.0.0.1:{self._server.port}"

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _http:  # noqa: N801 - read as a verb: with _http(told)
    """One HTTP server for all services and for the proxy."""

    def __init__(self, told: Platform) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Any) -> None:
                asked = f"{self.command} {self.path.partition('?')[0]}"
                told.asked.append((asked, body))
                status, page = told.pages.get(asked, (404, {"error": "no route"}))
                content = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fake pages")

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
