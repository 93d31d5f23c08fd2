"""What goes with the telling of a signal: its span, and its count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.chassis import instruments, telemetry
from services.monitor.store import Watch


@contextmanager
def signalling(watch: Watch, said: str, *, links: Sequence[str] = ()) -> Iterator[None]:
    """Tell something of a watch inside this, in a span that is linked to what showed it."""
    with telemetry.span(f"signal {watch.model}", links=links):
        telemetry.about(watch.model, watch.version)
        yield
        instruments.MONITOR_SIGNALS.labels(watch.model, watch.environment, watch.role, said).inc(
            exemplar=telemetry.exemplar()
        )
