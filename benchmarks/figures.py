"""Figures: a name, a value with its unit, and what it was measured beside. Ratios come first; they travel."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

TIMES: Final = "times"
"""The unit of a ratio."""
_WIDE: Final = 160  # columns of a log, which has no width of its own


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Args:
        name: Dotted, such as delivery.hop.p99.
        value: How much.
        unit: Of what, as a person would say it: ms, events/s, MiB; TIMES for a ratio.
        beside: What it was measured beside, or how; empty where the name says it.
    """

    name: str
    value: float
    unit: str
    beside: str = ""


def percentiles(seconds: Sequence[float], prefix: str, beside: str = "") -> list[Figure]:
    """p50 and p99 of durations, in milliseconds."""
    values = np.percentile(np.asarray(seconds) * 1000, [50, 99])
    return [
        Figure(f"{prefix}.p{which}", round(float(value), 3), "ms", beside)
        for which, value in zip((50, 99), values, strict=True)
    ]


def report(figures: Sequence[Figure], into: Path) -> None:
    """Print a table, and write the same as JSON."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    table = Table(box=None, title=f"Measured on {machine}", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("beside", style="dim")
    for figure in sorted(figures, key=lambda one: (one.unit != TIMES, one.name)):
        value = f"{figure.value:,.3f}".rstrip("0").rstrip(".")
        table.add_row(figure.name, value, figure.unit, figure.beside)
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
    into.write_text(json.dumps([asdict(figure) for figure in figures], indent=1, ensure_ascii=False) + "\n")
