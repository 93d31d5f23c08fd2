"""What a version's requests came to, as the proxy counted them: a crash leaves no record, but the proxy sees it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests on one version, counted since some moment.

    Args:
        requests: How many were answered or failed, 0 or more.
        failures: How many of them failed: a 5xx, a reset, a time-out, or no connection.
        latencies: How many answers took at most so many milliseconds and more than the next smaller key.
        active: How many are under way.
    """

    requests: int = 0
    failures: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)
    active: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """What came after an earlier reading; a proxy that started again counts from 0.

        >>> Traffic(10, 1, {5.0: 10}).since(Traffic(4, 1, {5.0: 4}))
        Traffic(requests=6, failures=0, latencies={5.0: 6}, active=0)
        """
        if self.requests < earlier.requests:
            return self
        latencies = {
            edge: count - earlier.latencies.get(edge, 0)
            for edge, count in self.latencies.items()
            if count > earlier.latencies.get(edge, 0)
        }
        return Traffic(
            self.requests - earlier.requests, max(self.failures - earlier.failures, 0), latencies, self.active
        )

    def plus(self, other: Traffic) -> Traffic:
        """Both together, such as a version's HTTP and its gRPC requests."""
        latencies = dict(self.latencies)
        for edge, count in other.latencies.items():
            latencies[edge] = latencies.get(edge, 0) + count
        return Traffic(
            self.requests + other.requests, self.failures + other.failures, latencies, self.active + other.active
        )

    def quantile(self, share: float) -> float:
        """The latency in milliseconds that a share of the answers didn't exceed; NaN where there are none.

        >>> Traffic(4, 0, {1.0: 3, 9.0: 1}).quantile(0.75)
        1.0
        """
        wanted = share * sum(self.latencies.values())
        seen = 0
        for edge in sorted(self.latencies):
            seen += self.latencies[edge]
            if seen >= wanted:
                return edge
        return math.nan

    def slower_than(self, milliseconds: float) -> int:
        """How many answers took longer."""
        return sum(count for edge, count in self.latencies.items() if edge > milliseconds)

    @property
    def answers(self) -> int:
        """How many requests have a latency."""
        return sum(self.latencies.values())


def to_json(traffic: Traffic) -> dict[str, Any]:
    """A reading as it is kept with a row."""
    return {
        "requests": traffic.requests,
        "failures": traffic.failures,
        "latencies": sorted(traffic.latencies.items()),
    }


def from_json(kept: Mapping[str, Any]) -> Traffic:
    """A reading that was kept.

    >>> from_json(to_json(Traffic(3, 1, {2.0: 3})))
    Traffic(requests=3, failures=1, latencies={2.0: 3}, active=0)
    """
    pairs: Iterable[tuple[float, int]] = kept.get("latencies", ())
    return Traffic(int(kept.get("requests", 0)), int(kept.get("failures", 0)), {float(e): int(n) for e, n in pairs})
