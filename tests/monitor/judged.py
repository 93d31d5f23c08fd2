"""A made-up stream under the eyes of a judge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from services.monitor.domain.budget import Settings
from services.monitor.domain.findings import Detected, Finding
from services.monitor.domain.judge import Judge
from services.profile import Column, count, profile_of

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
KINDS = 5


def stream(random: np.random.Generator, rows: int, features: int = 5) -> dict[str, Column]:
    """Records of independent features, of every kind in turn: normal, heavy-tailed, tied, mostly zero, text."""
    cities = np.array(["Rome", "Oslo", "Bern", "Riga"], dtype=object)
    makers: list[Callable[[], Column]] = [
        lambda: random.normal(size=rows),
        lambda: random.standard_cauchy(rows),
        lambda: random.poisson(2.0, rows),
        lambda: np.where(random.random(rows) < 0.05, random.lognormal(5, 1, rows), 0.0),
        lambda: cities[np.minimum(random.geometric(0.4, rows) - 1, 3)],
    ]
    return {f"f{place:02}": makers[place % KINDS]() for place in range(features)}


class Watch:
    """A judge, its state and what it found, a batch after the other."""

    def __init__(self, reference: dict[str, Column], settings: Settings | None = None) -> None:
        self.judge = Judge(profile_of(reference), settings or Settings())
        self.now = MORNING
        self.state = self.judge.begin(self.now)
        self.found: list[Finding] = []

    def see(self, columns: dict[str, Column], batch: int = 100) -> list[Finding]:
        """Judge the records in batches, and give what was found in them."""
        before = len(self.found)
        for start in range(0, len(columns["f00"]), batch):
            self.now += timedelta(seconds=1)
            piece = {name: np.asarray(column)[start : start + batch] for name, column in columns.items()}
            self.state, found = self.judge.observe(self.state, [count(self.judge.profile, piece)], self.now)
            self.found.extend(found)
        return self.found[before:]


def watch(seed: int = 1, rows: int = 5_000) -> tuple[Watch, np.random.Generator]:
    random = np.random.default_rng(seed)
    return Watch(stream(random, rows)), random


def detected(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if isinstance(finding, Detected)]
