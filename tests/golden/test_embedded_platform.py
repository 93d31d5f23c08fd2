"""The platform comes up, is found again, heals what died, and goes down without a trace.

With the registry alone: the services' own tests and the demo run all four.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import grpc
import psycopg
import pytest

from golden.embedded import platform, state
from golden.embedded.platform import Platform, Ports
from golden.embedded.processes import start
from services.chassis.errors import Conflict, Invalid

pytestmark = pytest.mark.servers

_REGISTRY = frozenset({"registry"})
_SOON = timedelta(seconds=10)


def _folder() -> Iterator[Path]:
    """Outside of pytest's own folder: that one is closed to the account that PostgreSQL gets from root."""
    home = Path(tempfile.mkdtemp(prefix="goldenpath-home-"))
    yield home
    platform.down(home, wipe=True)
    shutil.rmtree(home, ignore_errors=True)


home = pytest.fixture(_folder)
kept_home = pytest.fixture(_folder, scope="module")


@pytest.fixture
def running(kept_home: Path) -> Platform:
    """A platform with a registry: the first test starts it, every other one finds or mends it."""
    return platform.up(kept_home, only=_REGISTRY, ports=Ports.free(), say=lambda _: None)


def test_the_registry_answers_where_the_platform_says(running: Platform) -> None:
    endpoints = running.endpoints()
    with grpc.insecure_channel(endpoints.grpc["registry"]) as channel:
        grpc.channel_ready_future(channel).result(timeout=_SOON.total_seconds())
    assert set(endpoints.grpc) == {"registry"}


def test_mlflow_has_a_database_of_its_own(running: Platform) -> None:
    with psycopg.connect(running.endpoints().tracking.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT current_database(), current_user").fetchone() == ("mlflow", "mlflow")


def test_the_state_file_is_private_and_names_every_process(running: Platform) -> None:
    file = running.home / "platform.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(json.loads(file.read_text())["parts"]) == {"postgres", "kafka", "registry"}
    assert all(process.alive() for process in running.state.parts.values())


def test_a_second_up_attaches(running: Platform) -> None:
    again = platform.up(running.home, only=_REGISTRY, ports=Ports.free(), say=lambda _: None)
    assert again.state == running.state
    assert platform.attach(running.home) == again


def test_what_was_killed_starts_again_and_the_rest_stays(running: Platform) -> None:
    for part in ("kafka", "registry"):
        running.state.parts[part].send(signal.SIGKILL)
        running.state.parts[part].finish(_SOON)
    again = platform.up(running.home, only=_REGISTRY, ports=Ports.free(), say=lambda _: None)
    changed = {part for part, process in again.state.parts.items() if process != running.state.parts[part]}
    assert changed == {"kafka", "registry"}


def test_another_python_takes_it_down_with_its_model_servers_and_it_comes_back(running: Platform) -> None:
    server = start([sys.executable, "-c", "import time; time.sleep(600)"], log=running.home / "log", environment={})
    stored = {"pid": server.pid, "started_at": server.started_at}
    (running.folders.modelservers / f"{server.pid}.json").write_text(json.dumps(stored))
    program = (
        "import sys; from pathlib import Path; from golden.embedded import platform;"
        "platform.down(Path(sys.argv[1]), wipe=False)"
    )
    subprocess.run([sys.executable, "-c", program, str(running.home)], check=True)
    assert not server.alive()
    assert not [part for part, process in running.state.parts.items() if process.alive()]
    assert platform.attach(running.home) is None

    again = platform.up(running.home, only=_REGISTRY, ports=running.state.ports, say=lambda _: None)
    assert again.state.passwords == running.state.passwords


def test_a_model_servers_pid_that_is_somebody_elses_by_now_is_left_alone(home: Path) -> None:
    other = start([sys.executable, "-c", "import time; time.sleep(600)"], log=home / "log", environment={})
    (home / "modelservers").mkdir()
    (home / "modelservers" / "1.json").write_text(json.dumps({"pid": other.pid, "started_at": other.started_at - 60}))
    state.write(home, state.State())
    platform.down(home, wipe=False)
    assert other.alive()
    other.stop(_SOON)


def test_an_up_that_fails_half_way_leaves_nothing_that_down_does_not_end(home: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        ports = replace(Ports.free(), registry_http=somebody.getsockname()[1])
        with pytest.raises(Conflict, match=rf"registry needs port {ports.registry_http}, and another program listens"):
            platform.up(home, only=_REGISTRY, ports=ports, say=lambda _: None)
    left = state.read(home)
    assert left is not None
    assert set(left.parts) == {"postgres", "kafka"}
    platform.down(home, wipe=True)
    assert not left.anything_alive()
    assert not home.exists()


def test_a_wipe_takes_only_what_the_platform_made(home: Path) -> None:
    (home / "thesis.tex").touch()
    state.write(home, state.State())
    platform.down(home, wipe=True)
    assert [path.name for path in home.iterdir()] == ["thesis.tex"]


def test_two_at_once_are_refused(home: Path) -> None:
    with state.alone(home), pytest.raises(Conflict, match="another golden up or down is at work"):
        platform.up(home, only=None, ports=Ports(), say=lambda _: None)


def test_a_service_that_there_is_not_is_refused(home: Path) -> None:
    with pytest.raises(Invalid, match="there is no service 'registrar'"):
        platform.up(home, only=frozenset({"registrar"}), ports=Ports(), say=lambda _: None)


def test_a_damaged_state_file_is_named(home: Path) -> None:
    (home / "platform.json").write_text('{"ports": ')
    with pytest.raises(Invalid, match=r"platform.json: it can't be read"):
        platform.attach(home)
    (home / "platform.json").unlink()


def test_the_documented_ports_can_be_moved() -> None:
    assert Ports.configured({}) == Ports()
    assert Ports.configured({"GOLDEN_PORT_KAFKA": "19092"}).kafka == 19092
    assert len(set(asdict(Ports()).values())) == len(asdict(Ports()))


@pytest.mark.parametrize("value", ["kafka", "0", "65536", "-1", ""])
def test_a_port_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match=r"GOLDEN_PORT_KAFKA: .* is not a port"):
        Ports.configured({"GOLDEN_PORT_KAFKA": value})


def test_two_parts_cannot_share_a_port() -> None:
    with pytest.raises(Invalid, match="port 8700 is given to two parts"):
        Ports.configured({"GOLDEN_PORT_KAFKA": "8700"})
