"""Processes that outlive whoever started them.

`golden up` starts a dozen processes and ends; a later `golden down`, another Python, stops them. So a process gets
a session of its own (a Ctrl-C in the terminal doesn't reach it), writes to a file, and is known again by its pid
*and* its start time: pids are reused, and ending somebody else's process is worse than leaving one of ours.

`Running` is what the state file keeps: `dataclasses.asdict(running)` there, `Running(**stored)` back.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from services.chassis.errors import Conflict, Unavailable

_POLL = timedelta(milliseconds=50)  # a tenth of the fastest start that we wait for (PostgreSQL, half a second)
_SAME_START_SECONDS = 2.0  # psutil adds ticks to the boot time, and Linux moves that by a second as the clock is set
_LAST_LINES = 15  # of a log, in an error: a stack trace's head and what led to it
# Below every system's range for outgoing connections (Linux from 32768, macOS from 49152): a port that was free
# a second ago isn't taken by a client's connection while a JVM is starting.
_FREE_PORTS = range(20_000, 32_000)
_handed_out: set[int] = set()


@dataclass(frozen=True)
class Account:
    """The user that a process runs as, when that isn't our own."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Running:
    """A process that was started here or by an earlier session.

    Args:
        pid: Its process id.
        started_at: When it started, seconds since the epoch, as psutil tells it.
        log: The file that it writes to; empty where nobody knows.
    """

    pid: int
    started_at: float
    log: str = ""

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie doesn't."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started_at) > _SAME_START_SECONDS:
                return False
            if process.status() != psutil.STATUS_ZOMBIE:
                return True
        except psutil.ZombieProcess:
            pass
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        with suppress(ChildProcessError):  # it isn't our child: its parent takes its exit code
            os.waitpid(self.pid, os.WNOHANG)
        return False

    def stop(self, grace: timedelta, *, gently: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, kill it when the grace is over, and wait until it is gone."""
        self.send(gently)
        self.finish(grace)

    def finish(self, grace: timedelta) -> None:
        """Wait for a process that was asked to end; kill it when the grace is over."""
        if not self._gone_within(grace):
            self.send(signal.SIGKILL)
            self._gone_within(timedelta(seconds=10))  # only a process stuck in the kernel lives longer

    def send(self, what: signal.Signals) -> None:
        """Send a signal, if this very process still runs."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, what)

    def _gone_within(self, limit: timedelta) -> bool:
        until = time.monotonic() + limit.total_seconds()
        while self.alive():
            if time.monotonic() > until:
                return False
            time.sleep(_POLL.total_seconds())
        return True


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    account: Account | None = None,
) -> Running:
    """Start a process in a session of its own.

    Args:
        command: The program and its arguments.
        log: Where its output goes; appended, so that a restart keeps the story of the crash.
        environment: The process's whole environment: nothing is inherited.
        cwd: Its working folder; the caller's by default.
        account: Who it runs as; only root can choose.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the command is ours
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
            cwd=cwd,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    started_at = psutil.Process(child.pid).create_time()
    child.returncode = 0  # Popen lets go: the process may outlive us, and Running.alive() takes its exit code
    return Running(child.pid, started_at, str(log))


def stop_together(processes: Sequence[Running], grace: timedelta) -> None:
    """Ask all of them to end at once, and wait for each."""
    for process in processes:
        process.send(signal.SIGTERM)
    for process in processes:
        process.finish(grace)


def wait_until(ready: Callable[[], bool], running: Running, within: timedelta, what: str) -> None:
    """Wait for a process that was just started.

    Raises:
        Unavailable: the process died or the time is out; with the last lines of its log.
    """
    until = time.monotonic() + within.total_seconds()
    while not ready():
        if not running.alive():
            raise Unavailable(f"{what} ended while it started{_last_words(running)}")
        if time.monotonic() > until:
            raise Unavailable(f"{what} was not ready within {within.total_seconds():.0f} s{_last_words(running)}")
        time.sleep(_POLL.total_seconds())


def _last_words(running: Running) -> str:
    with suppress(OSError):
        lines = Path(running.log).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return f"; the end of {running.log}:\n" + "\n".join(f"    {line}" for line in lines)
    return ""


def free_port() -> int:
    """A loopback port that nobody listens on; never the same one twice in this process."""
    for port in random.sample(_FREE_PORTS, k=len(_FREE_PORTS)):
        if port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port
    raise Unavailable(f"no port between {_FREE_PORTS.start} and {_FREE_PORTS.stop} is free")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def require_free(what: str, *ports: int) -> None:
    """Make sure that a part about to start is the one that will answer on its ports.

    Raises:
        Conflict: another program listens on one of them.
    """
    for port in ports:
        if not is_free(port):
            raise Conflict(
                f"{what} needs port {port}, and another program listens there",
                fix="stop that program, or move ours with a GOLDEN_PORT_ variable",
            )
