"""How good both versions are, today, a year later, and when a feed breaks: the table in README.md.

It runs the notebook for both versions, as anybody would, and measures the models that the runs have logged: on the
held-out records of 1994, on those of 1995, and on 1994's after each fault of `traffic`.

    python examples/credit/measure.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd
import skops.io  # type: ignore[import-untyped] # it ships no types
import yaml
from sklearn.metrics import log_loss, roc_auc_score

from examples.credit import census, traffic
from golden import training

NOTEBOOK: Final = Path(__file__).parent / "train.ipynb"


def logged_model(version: int, folder: Path) -> Any:
    """Run the notebook, and load what it logged."""
    artifacts = folder / f"version-{version}"
    running = training.start(
        NOTEBOOK,
        folder / f"version-{version}.ipynb",
        parameters={"version": version},
        tracking=f"sqlite:///{folder / f'version-{version}.db'}",
        artifacts=artifacts,
    )
    running.run_id()
    return load(next(artifacts.rglob("MLmodel")).parent)


def load(folder: Path) -> Any:
    """A logged model as a server loads it: without MLflow, trusting the types that its MLmodel names."""
    flavor = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["sklearn"]
    return skops.io.load(folder / flavor["pickled_model"], trusted=flavor["skops_trusted_types"])


def situations() -> Iterator[tuple[str, pd.DataFrame, pd.Series[int]]]:
    """What the models meet: its name, the inputs, the truth."""
    today, later = census.read(census.TEST, 94), census.read(census.TEST, 95)
    inputs, truth = census.inputs_of(today), census.target_of(today)
    yield "1994, held out", inputs, truth
    yield "1995", census.inputs_of(later), census.target_of(later)
    for name, fault in traffic.FAULTS.items():
        broken = [fault(record).inputs for record in traffic.records(94)]
        yield f"1994, {name.replace('_', ' ')}", pd.DataFrame(broken, index=inputs.index), truth


def figures(model: Any, inputs: pd.DataFrame, truth: pd.Series[int]) -> str:
    """Log loss and AUC, as a cell of the table."""
    scores = model.predict_proba(inputs[list(model.feature_names_in_)])[:, 1]
    return f"{log_loss(truth, scores):.4f} / {roc_auc_score(truth, scores):.3f}"


def main() -> None:
    """Train, measure, print."""
    with tempfile.TemporaryDirectory() as scratch:
        models = [logged_model(version, Path(scratch)) for version in (1, 2)]
    print("| log loss / AUC | version 1 | version 2 |\n| --- | --- | --- |")
    for name, inputs, truth in situations():
        print(f"| {name} | " + " | ".join(figures(model, inputs, truth) for model in models) + " |")


if __name__ == "__main__":
    main()
