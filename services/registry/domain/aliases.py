"""Aliases: names that point to a version, and every place that they pointed to before.

An alias follows its deployment, and the epoch says which news is newer: a span of an older or equal epoch changes
nothing. So an event that comes twice, or late, is harmless even without an inbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

CHAMPION: Final = "champion@"


@dataclass(frozen=True, slots=True)
class Pointing:
    """An alias that points, or pointed, to a version: since when, until when (None: it still does), in which epoch."""

    model: str
    alias: str
    version: int
    epoch: int
    since: datetime
    until: datetime | None = None

    @property
    def environment(self) -> str:
        """The environment that the alias speaks of; empty where it isn't a champion."""
        return self.alias.removeprefix(CHAMPION) if self.alias.startswith(CHAMPION) else ""


def champion(environment: str) -> str:
    """The alias that promotion moves.

    >>> champion("")
    'champion@production'
    """
    return CHAMPION + (environment or "production")


def moves(newest: Pointing | None, epoch: int) -> bool:
    """True where news of that epoch is newer than the alias's newest pointing."""
    return newest is None or epoch > newest.epoch
