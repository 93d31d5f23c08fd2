"""Applications as they would come in: held-out records, one by one, and what can go wrong with their feeds.

The records of the test file were never trained on. Each stands for a customer of its own, whose id is the row's
place in the file, so the same customer comes back under the same id in every run. File order stands for time.

A fault is a function from record to record, as a broken feed would change it: it touches inputs and nothing
else, so the customer and the truth stay what they were.

    python examples/credit/traffic.py --count 3
    python examples/credit/traffic.py --year 95 --fault amounts_in_cents
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from examples.credit import census

Inputs: TypeAlias = Mapping[str, float | str]

COMMONEST_EDUCATION: Final = "High school graduate"
"""Education's commonest value in the training records: 24 % of them."""

CENTS: Final = 100.0
"""Cents in a dollar."""


@dataclass(frozen=True, slots=True)
class Record:
    """One application.

    Args:
        inputs: What a model may take, by column.
        unit: The customer it is about, such as customer-000042.
        label: What turned out to be true, as the model names its classes: 1 for an income over 50,000 dollars, or 0.
    """

    inputs: Inputs
    unit: str
    label: str


Fault: TypeAlias = Callable[[Record], Record]


def records(year: int = 94, path: Path = census.TEST) -> Iterator[Record]:
    """Every held-out record of a year, once, in file order."""
    found = census.read(path, year)
    inputs, labels = census.inputs_of(found), census.target_of(found)
    names = list(inputs.columns)
    for row, label, *values in zip(found.index, labels, *(inputs[name] for name in names), strict=True):
        yield Record(dict(zip(names, values, strict=True)), f"customer-{row:06d}", str(label))


def education_stuck(record: Record) -> Record:
    """The education feed repeats one value, whoever applies."""
    return _with(record, {"education": COMMONEST_EDUCATION})


def amounts_in_cents(record: Record) -> Record:
    """The three amounts arrive in cents, where dollars are meant."""
    return _with(record, {name: float(record.inputs[name]) * CENTS for name in census.AMOUNTS})


FAULTS: Final[Mapping[str, Fault]] = {"education_stuck": education_stuck, "amounts_in_cents": amounts_in_cents}
"""The faults by name."""


def _with(record: Record, changed: Inputs) -> Record:
    return dataclasses.replace(record, inputs={**record.inputs, **changed})


def main() -> None:
    """Print records as JSON, one a line."""
    parser = argparse.ArgumentParser(description="Held-out applications, as JSON lines.")
    parser.add_argument("--year", type=int, choices=(94, 95), default=94)
    parser.add_argument("--fault", choices=sorted(FAULTS))
    parser.add_argument("--count", type=int, default=10)
    wanted = parser.parse_args()
    for record in islice(records(wanted.year), wanted.count):
        changed = FAULTS[wanted.fault](record) if wanted.fault else record
        sys.stdout.write(json.dumps(dataclasses.asdict(changed)) + "\n")


if __name__ == "__main__":
    main()
