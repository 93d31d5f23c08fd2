"""Counts and times the requests of one edge; its metrics' children are looked up once."""

from __future__ import annotations

from services.modelserver import instruments


class Meter:
    """The metrics of one edge.

    Args:
        protocol: http or grpc.
    """

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._ok = instruments.REQUESTS.labels(protocol, "ok")
        self._seconds = instruments.SECONDS.labels(protocol)

    def answered(self, seconds: float) -> None:
        """A request got its answer, after so many seconds."""
        self._ok.inc()
        self._seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        """A request got an error of this kind: the error's class, or Internal."""
        instruments.REQUESTS.labels(self._protocol, kind).inc()
