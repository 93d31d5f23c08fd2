"""`make bench`: every measurement, one after the other, so that none disturbs another.

`make bench ARGS="queries delivery"` runs only these.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figure, report

MEASUREMENTS = ("queries", "delivery", "monitor", "judge", "monitor_nulls", "platform", "modelserver")


def main(wanted: list[str]) -> None:
    """Measure, print, and write bench.json beside this file."""
    unknown = set(wanted) - set(MEASUREMENTS)
    if unknown:
        sys.exit(f"there is no measurement {min(unknown)}; there are {', '.join(MEASUREMENTS)}")
    figures: list[Figure] = []
    for name in wanted or MEASUREMENTS:
        print(f"measuring {name} …", flush=True)
        figures += import_module(f"benchmarks.{name}").measure()
    report(figures, Path(__file__).with_name("bench.json"))


if __name__ == "__main__":
    main(sys.argv[1:])
