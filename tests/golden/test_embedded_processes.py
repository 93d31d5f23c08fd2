"""A process is known by its pid and start time, outlives whoever started it, and is stopped by anybody."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from golden.embedded.processes import Running, free_port, is_free, start, stop_together, wait_until
from golden.embedded.services import environment_of
from services.chassis.errors import Unavailable

_SLEEPER = "import time, sys; print('up', flush=True); time.sleep(600)"
_STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
_SOON = timedelta(seconds=20)

Run = Callable[[str], Running]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts Python programs, waits for what they print first, and ends them all after the test."""
    started: list[Running] = []

    def run(program: str) -> Running:
        log = tmp_path / f"{len(started)}.log"
        started.append(start([sys.executable, "-c", program], log=log, environment={"PYTHONUNBUFFERED": "1"}))
        wait_until(lambda: "up" in log.read_text(), started[-1], _SOON, "the program")
        return started[-1]

    yield run
    for process in started:
        process.send(signal.SIGKILL)
    stop_together(started, _SOON)


def test_a_process_is_stopped_by_another_python_from_what_was_stored(run: Run) -> None:
    running = run(_SLEEPER)
    stored = json.dumps(asdict(running))
    program = (
        "import json, sys; from datetime import timedelta; from golden.embedded.processes import Running;"
        "running = Running(**json.loads(sys.argv[1])); assert running.alive(); running.stop(timedelta(seconds=10))"
    )
    subprocess.run([sys.executable, "-c", program, stored], check=True)
    assert not running.alive()


def test_a_process_outlives_the_python_that_started_it(tmp_path: Path) -> None:
    program = (
        "import json, sys; from dataclasses import asdict; from pathlib import Path;"
        "from golden.embedded.processes import start;"
        "running = start([sys.executable, '-c', sys.argv[1]], log=Path(sys.argv[2]), environment={});"
        "print(json.dumps(asdict(running)))"
    )
    command = [sys.executable, "-W", "error", "-c", program, _SLEEPER, str(tmp_path / "log")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    running = Running(**json.loads(answer.stdout))
    try:
        assert running.alive()
        assert os.getsid(running.pid) == running.pid
        assert answer.stderr == ""
    finally:
        running.stop(_SOON)


def test_a_process_that_has_another_start_time_is_not_ours_and_is_left_alone(run: Run) -> None:
    running = run(_SLEEPER)
    other = replace(running, started_at=running.started_at - 60)
    other.stop(timedelta(seconds=1))
    assert not other.alive()
    assert running.alive()


def test_a_process_that_ignores_the_question_is_killed_after_its_grace(run: Run) -> None:
    running = run(_STUBBORN)
    running.stop(timedelta(milliseconds=100))
    assert not running.alive()


def test_a_child_that_ended_by_itself_is_not_alive_and_leaves_no_zombie(run: Run) -> None:
    running = run("print('up')")
    wait_until(
        lambda: not running.alive(), replace(running, pid=os.getpid(), started_at=_own_start()), _SOON, "the end"
    )
    assert not Path(f"/proc/{running.pid}").exists()


def test_waiting_for_a_process_that_died_shows_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = start([sys.executable, "-c", "raise SystemExit('no disk')"], log=log, environment={})
    with pytest.raises(Unavailable, match=r"the program ended while it started; (.|\n)*no disk"):
        wait_until(lambda: False, running, _SOON, "the program")


def test_waiting_ends_when_the_time_is_out(run: Run) -> None:
    running = run(_SLEEPER)
    with pytest.raises(Unavailable, match="the program was not ready within 0 s"):
        wait_until(lambda: False, running, timedelta(milliseconds=50), "the program")


def test_a_restart_appends_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        running = start([sys.executable, "-c", f"print('{word}')"], log=log, environment={})
        wait_until(lambda word=word: word in log.read_text(), running, _SOON, "the program")  # type: ignore[misc] # mypy can't infer a lambda with a default
    assert log.read_text().split() == ["first", "second"]


def test_free_ports_are_free_and_never_the_same() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    assert all(is_free(port) for port in ports)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def _own_start() -> float:
    import psutil

    return float(psutil.Process().create_time())


def test_what_feast_leaves_in_the_environment_is_no_services_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder of metrics goes with the process that imported it; whoever inherits the name fails at the next one."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "feast_metrics_gone")
    monkeypatch.setenv("PROMETHEUS_MULTIPROCESS_DIR", "feast_metrics_gone")
    monkeypatch.setenv("AWS_PROFILE", "ours")
    monkeypatch.setenv("GOLDENPATH_KAFKA_BOOTSTRAP", "elsewhere")
    made = environment_of({"LOG_JSON": "true"})
    assert made["AWS_PROFILE"] == "ours"
    assert {name: value for name, value in made.items() if name.startswith(("PROMETHEUS_", "GOLDENPATH_"))} == {
        "GOLDENPATH_LOG_JSON": "true"
    }
