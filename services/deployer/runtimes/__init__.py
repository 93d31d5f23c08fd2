"""Where model servers run. A runtime starts, finds and ends them; it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from services.deployer.domain.deployment import Place
from services.deployer.domain.routing import Address


@dataclass(frozen=True, slots=True)
class Process:
    """A process, known again by its id and start time, since ids are reused.

    Args:
        pid: Its id.
        started_at: Seconds since the epoch, as the operating system tells it.
    """

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model server.

    Args:
        id: Ours; the process carries it in its environment.
        place: Which deployment.
        version: The version that it serves.
        digest: The bytes that it serves.
        address: Where it listens.
        environment_digest: The digest of the requirements that it must satisfy; only needed to start it.
        features: The version's feature settings as JSON, empty where it has none; only needed to start it.
        process: What runs; None before it was started.
        ready: True while it answers ready.
        leaving: True once it is to end: it answers what it was sent, and is sent nothing more.
    """

    id: UUID
    place: Place
    version: int
    digest: str
    address: Address
    environment_digest: str = ""
    features: str = ""
    process: Process | None = None
    ready: bool = False
    leaving: bool = False


class Runtime(Protocol):
    """Where model servers run."""

    def free_address(self) -> Address:
        """Where a new server may listen."""
        ...

    def start(self, endpoint: Endpoint) -> Process:
        """Start a server."""
        ...

    def find(self, endpoint: Endpoint) -> Process | None:
        """The process that an interrupted start left behind; None where it left none."""
        ...

    def alive(self, endpoint: Endpoint) -> bool:
        """True while its process runs."""
        ...

    def stop(self, endpoint: Endpoint) -> None:
        """Ask it to end; it finishes what is under way first."""
        ...

    def kill(self, endpoint: Endpoint) -> None:
        """End it at once."""
        ...

    def last_words(self, endpoint: Endpoint) -> str:
        """What it said last, in a sentence; empty where it said nothing."""
        ...

    async def answers_ready(self, endpoint: Endpoint) -> bool:
        """True where it is warm and takes requests."""
        ...
