"""What a person sees of the demo: a line for each step, with a spinner and a count while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.chassis.errors import Unavailable

_POLL: Final = timedelta(milliseconds=100)
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A line of the timeline."""

    step: str
    where: str
    seconds: float
    said: str


@dataclass
class Screen:
    """Prints steps as they happen, and keeps them for the timeline.

    Args:
        console: Where to.
    """

    console: Console
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, where: str) -> Iterator[Step]:
        """A step of the story; it is told when it ends well."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            step = Step(progress, progress.add_task(f"{name:<12} [dim]{where}[/dim]", total=None, now=""))
            yield step
        row = Row(name, where, step.seconds, step.said)
        self.rows.append(row)
        self.console.print(
            f"[green]✓[/green] {row.step:<12} [dim]{row.where:<11}[/dim] {row.seconds:6.1f} s  {row.said}",
            soft_wrap=True,
        )

    def act(self, title: str) -> None:
        """A new act of the story."""
        self.console.print(f"\n[bold]{title}[/bold]")


class Step:
    """A step that goes on."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress = progress
        self._task = task
        self._began = time.monotonic()
        self._took: float | None = None
        self.said = ""

    @property
    def seconds(self) -> float:
        """How long it took, or takes so far."""
        return time.monotonic() - self._began if self._took is None else self._took

    def took(self, seconds: float) -> None:
        """Name how long it really took, where the platform itself measured it."""
        self._took = seconds

    def say(self, text: str) -> None:
        """What came out of it."""
        self.said = text

    def now(self, text: str) -> None:
        """What is going on, for whoever waits."""
        self._progress.update(self._task, now=f"[dim]{text}[/dim]")

    def until(self, condition: Callable[[], T | None], *, within: timedelta, what: str) -> T:
        """Poll until a condition gives something truthy, and give that back.

        Raises:
            Unavailable: the time is over.
        """
        deadline = time.monotonic() + within.total_seconds()
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(_POLL.total_seconds())
        raise Unavailable(f"{what} didn't happen within {within.total_seconds():.0f} s")
