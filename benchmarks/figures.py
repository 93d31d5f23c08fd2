"""Figures: a name, a value with its unit, and what it was measured beside. Ratios come first; they travel."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Args:
        name: Dotted, such as delivery.hop.p99_ms.
        value: In the unit that the name ends with, or a ratio.
        beside: What it was measured beside, or how; empty where the name says it.
    """

    name: str
    value: float
    beside: str = ""


def percentiles(seconds: Sequence[float], prefix: str, beside: str = "") -> list[Figure]:
    """p50 and p99 of durations, in milliseconds."""
    values = np.percentile(np.asarray(seconds) * 1000, [50, 99])
    return [
        Figure(f"{prefix}.p{which}_ms", round(float(v), 3), beside) for which, v in zip((50, 99), values, strict=True)
    ]


def report(figures: Sequence[Figure], into: Path) -> None:
    """Print a table, and write the same as JSON."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    table = Table("figure", "value", "beside", box=None, title=f"Measured on {machine}", title_justify="left")
    for figure in sorted(figures, key=lambda one: (not one.name.endswith("ratio"), one.name)):
        table.add_row(figure.name, f"{figure.value:,.3f}".rstrip("0").rstrip("."), figure.beside)
    Console().print(table)
    into.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
