"""Data planes: what makes the traffic go where it was decided, and counts what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from services.deployer.domain.deployment import Place
from services.deployer.domain.routing import Routing
from services.deployer.domain.traffic import Traffic

Counted = Mapping[tuple[Place, int], Traffic]
"""What each version's requests came to."""


class Router(Protocol):
    """A data plane."""

    async def apply(self, routing: Routing, *, token: int) -> frozenset[Place]:
        """Make it so; the places whose traffic goes as decided, by the data plane's own word.

        Raises:
            LeaseLost: somebody with a higher token writes it now.
            Unavailable: it doesn't answer.
            Conflict: it refuses what was rendered.
        """
        ...

    async def prune(self, routing: Routing, *, token: int) -> bool:
        """Forget versions that the routing doesn't name, once no request is under way on them; True where one is."""
        ...

    async def known(self) -> frozenset[str]:
        """The servers' addresses, host:port, that it may still send requests to."""
        ...

    async def traffic(self) -> Counted:
        """What each version's requests came to since the data plane started."""
        ...

    async def ready(self) -> None:
        """Raises Unavailable while it doesn't answer."""
        ...
