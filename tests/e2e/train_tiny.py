"""Trains tiny versions of one model into an MLflow, as a notebook would, and prints their runs as JSON. A script.

Odd versions know a person's age, even ones their hours too, so that a fault in the hours hurts only these.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def train(store: str, artifacts: Path, versions: int) -> list[str]:
    """Make a run for each version; of a kind they differ in how strongly they are regularised."""
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("tiny", artifact_location=artifacts.as_uri())
    mlflow.set_experiment("tiny")
    return [_run(version) for version in range(1, versions + 1)]


def _run(version: int) -> str:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    from golden import sdk

    rng = np.random.default_rng(7)
    people = pd.DataFrame({"age": rng.normal(40, 12, 2_000), "hours": rng.integers(0, 60, 2_000).astype(float)})
    truth = (people["age"] + people["hours"] + rng.normal(0, 10, 2_000) > 70).astype(int)
    inputs = people[["age"]] if version % 2 else people
    fitted = LogisticRegression(C=1.0 / version).fit(inputs, truth)  # type: ignore[no-untyped-call] # it ships no types
    scores = fitted.predict_proba(inputs)[:, 1]
    with mlflow.start_run() as run:
        mlflow.log_metrics({"validation.log_loss": 0.3, "validation.auc": 0.9})
        mlflow.sklearn.log_model(
            fitted,
            name="model",
            signature=infer_signature(inputs, scores),
            input_example=inputs.head(2),
            pip_requirements=sdk.pinned("scikit-learn", "numpy", "pandas", "skops"),
            serialization_format="skops",
        )
        sdk.log_reference(inputs, scores=scores, label=truth)
        return str(run.info.run_id)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
