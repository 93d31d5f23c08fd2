"""Other systems that the deployer asks: governance, the registry, the monitor, and model servers.

Advancing fails closed: without governance's answer nothing gets more traffic. Going back asks nobody but the target's
own server, and the monitor, whose answer it can do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from goldenpath.modelserver.v1 import events_pb2 as records_pb2
from services.chassis.errors import Invalid
from services.deployer.domain.comparison import Costs
from services.deployer.domain.deployment import Place, Role
from services.deployer.domain.losses import Values
from services.deployer.domain.routing import Address
from services.deployer.domain.shadow import Disagreement
from services.deployer.store.versions import Known


def values_of(column: records_pb2.Column) -> list[Any]:
    """A column's values: numbers (NaN is missing), or texts (None is missing).

    Raises:
        Invalid: a code names no text.
    """
    if not column.codes:
        return list(column.numbers)
    texts = [*column.dictionary, None]  # which the code -1 names
    if not all(-1 <= code < len(column.dictionary) for code in column.codes):
        raise Invalid("a code names no text of the dictionary", where=column.name)
    return [texts[code] for code in column.codes]


@dataclass(frozen=True, slots=True)
class Admission:
    """Governance's answer: may these bytes serve, now?"""

    admitted: bool
    reason: str
    verdict_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Records that a signal speaks of.

    Args:
        columns: The inputs by name: a list of numbers (NaN is missing) or of texts (None is missing).
        scores: What the version in trouble gave each, shape (records,).
        outcomes: What turned out to be true, NaN where it isn't known, shape (records,).
        costs: What decisions about them cost; None where the version doesn't say.
    """

    columns: Mapping[str, Sequence[Any]]
    scores: Values
    outcomes: Values
    costs: Costs | None = None


class Governance(Protocol):
    """Who may serve."""

    async def check(self, place: Place, version: int, digest: str) -> Admission:
        """Ask about bytes."""
        ...

    async def newest_approved(self, model: str) -> int:
        """The newest version that was judged, where it is approved."""
        ...


class Registry(Protocol):
    """What a version is."""

    async def version(self, place: Place, version: int) -> Known:
        """Ask about a version."""
        ...


class Monitor(Protocol):
    """What a signal is about, and how versions compare."""

    async def sample(self, signal_id: str, *, within: timedelta) -> Sample:
        """Ask for the records of a signal."""
        ...

    async def disagreement(self, place: Place, candidate: Role, *, within: timedelta) -> Disagreement:
        """Ask how a mirrored candidate's answers compare with the stable's."""
        ...


class Servers(Protocol):
    """Model servers, asked directly and not through the proxy."""

    async def check(self, model: str, address: Address, example: str) -> None:
        """Let a server predict its registered input example."""
        ...

    async def scores(self, model: str, address: Address, columns: Mapping[str, Sequence[Any]]) -> Values:
        """Let a server predict records again, without recording them."""
        ...
