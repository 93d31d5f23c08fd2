"""What a benchmark starts, and surely ends: a server, a broker, a proxy."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from golden.embedded.envoy import EnvoyProxy
from golden.embedded.kafka import KafkaBroker
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running, free_port, start, wait_until
from services.chassis.settings import KafkaAccess
from services.chassis.topics import create_topics
from services.deployer.router.envoy_config import route_configuration

_START: Final = timedelta(seconds=120)  # the slowest, MLflow's, takes 20 s on an idle machine
_STOP: Final = timedelta(seconds=30)


@contextmanager
def process(
    command: Sequence[str | Path], folder: Path, settings: Mapping[str, str], ready: Callable[[], bool], what: str
) -> Iterator[Running]:
    """A server in a folder, with settings added to our environment; it ends together with whatever it started."""
    with tempfile.TemporaryDirectory(prefix="bench-") as logs:
        running = start(command, log=Path(logs) / "log", environment={**os.environ, **settings}, cwd=folder)
        try:
            wait_until(ready, running, _START, what)
            yield running
        finally:
            end(running)


def cpu_seconds(running: Running) -> float:
    """How much processor time a process and its descendants have used so far."""
    server = psutil.Process(running.pid)
    return sum(sum(process.cpu_times()[:2]) for process in [server, *server.children(recursive=True)])


def end(running: Running) -> None:
    """End a process, and its descendants where it leaves them behind."""
    left: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(running.pid).children(recursive=True)
    running.stop(_STOP)
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()


@contextmanager
def kafka(folder: Path) -> Iterator[str]:
    """A broker with our topics; its bootstrap address."""
    broker = KafkaBroker(folder / "kafka", port=free_port(), controller_port=free_port())
    running = broker.launch()
    try:
        broker.wait(running)
        asyncio.run(create_topics(KafkaAccess(broker.bootstrap)))
        yield broker.bootstrap
    finally:
        broker.stop(running)


@contextmanager
def postgres(folder: Path, *, fsync: bool = True) -> Iterator[str]:
    """A database server with an empty database; how to open that."""
    server = PostgresServer(folder / "postgres", port=None, fsync=fsync)
    running = server.launch()
    try:
        server.wait(running)
        server.create_database("bench", "bench", "bench")
        yield server.dsn("bench", "bench", "bench")
    finally:
        server.stop()
        end(running)


@contextmanager
def envoy(
    clusters: Sequence[Mapping[str, Any]], routes: Mapping[Any, Sequence[dict[str, Any]]], ready: str
) -> Iterator[int]:
    """Envoy with these clusters and routes; its port, once it answers 200 on a path."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _discovered(folder / "cds.json", clusters)
        _discovered(folder / "rds.json", [route_configuration(routes)])
        proxy = EnvoyProxy(folder, port=(port := free_port()), admin_port=free_port())
        running = proxy.start()
        try:
            wait_until(answering(f"http://127.0.0.1:{port}{ready}"), running, _START, "Envoy")
            yield port
        finally:
            end(running)


def answering(url: str) -> Callable[[], bool]:
    """Whether a URL answers 200."""

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 (our own, on loopback)
                return bool(response.status == 200)  # noqa: PLR2004 (OK)
        except (urllib.error.URLError, OSError):
            return False

    return answers


def _discovered(path: Path, resources: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"version_info": "1", "resources": list(resources)}))
