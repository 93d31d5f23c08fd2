"""What `golden up` knows about the platform that it started: one file, platform.json, mode 0600.

It is written whenever a part was started or stopped, in one step. So after a crash half way the file still names
every process that runs, and `golden down` finds them. Passwords and the choice of services outlive a `down`, since
the data does.
"""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from golden.embedded.files import write_private
from golden.embedded.ports import Ports
from golden.embedded.processes import Running
from services.chassis.errors import Conflict, Invalid

_FILE = "platform.json"
_LOCK = "platform.lock"


@dataclass(frozen=True)
class State:
    """The platform as it was last left.

    Args:
        ports: Where its parts listen.
        services: Which services it is made of.
        parts: By name, the processes that were started and not yet stopped.
        passwords: By database, its role's password.
        features: The feature repository whose views are pushed; empty where no project reads features.
    """

    ports: Ports = field(default_factory=Ports)
    services: frozenset[str] = frozenset()
    parts: dict[str, Running] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    features: str = ""

    def alive(self, part: str) -> bool:
        """Whether a part was started and still runs."""
        return part in self.parts and self.parts[part].alive()

    def anything_alive(self) -> bool:
        """Whether any part still runs."""
        return any(running.alive() for running in self.parts.values())

    def started(self, part: str, running: Running) -> State:
        """The state with one more process."""
        return replace(self, parts={**self.parts, part: running})

    def stopped(self, part: str) -> State:
        """The state with one process fewer."""
        return replace(self, parts={name: running for name, running in self.parts.items() if name != part})

    def all_stopped(self) -> State:
        """The state with no process."""
        return replace(self, parts={})

    def with_passwords(self, databases: frozenset[str]) -> State:
        """The state with a password for each database; those that there are stay."""
        new = {name: secrets.token_urlsafe(24) for name in databases - self.passwords.keys()}
        return replace(self, passwords={**self.passwords, **new})


def read(home: Path) -> State | None:
    """The state of the platform in this folder; None where there was never one.

    Raises:
        Invalid: the file is damaged.
    """
    file = home / _FILE
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text())
        return State(
            ports=Ports(**stored["ports"]),
            services=frozenset(stored["services"]),
            parts={name: Running(**running) for name, running in stored["parts"].items()},
            passwords=stored["passwords"],
            features=stored.get("features", ""),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(f"it can't be read: {error!r}", where=str(file), fix="move it away and stop what runs") from None


def write(home: Path, state: State) -> State:
    """Keep the state, and give it back."""
    write_private(home / _FILE, json.dumps({**asdict(state), "services": sorted(state.services)}, indent=1) + "\n")
    return state


def forget(home: Path) -> None:
    """Remove what this module wrote, and the folder where nothing else is left in it."""
    (home / _FILE).unlink(missing_ok=True)
    (home / _LOCK).unlink(missing_ok=True)
    if not any(home.iterdir()):
        home.rmdir()


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let nobody else start or stop this platform meanwhile.

    Raises:
        Conflict: somebody does.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another golden up or down is at work", where=str(home), fix="wait until it ends") from None
        yield
