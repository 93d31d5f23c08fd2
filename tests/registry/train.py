"""Trains tiny models into an MLflow, as notebooks would, and prints their runs as JSON. A script: mlflow warns."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd


def train(store: str, artifacts: Path) -> dict[str, str]:
    """Make three runs: a whole one, one without reference rows, one without a model."""
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("credit", artifact_location=artifacts.as_uri())
    mlflow.set_experiment("credit")
    runs = {}
    for name, reference in (("whole", True), ("without reference", False)):
        with mlflow.start_run() as run:
            _log(reference=reference)
            runs[name] = run.info.run_id
    with mlflow.start_run() as run:
        mlflow.log_metric("validation.auc", 0.5)
        runs["without model"] = run.info.run_id
    return runs


def _log(*, reference: bool) -> None:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    from golden import sdk

    inputs = pd.DataFrame({"age": np.arange(60, dtype=float), "hours": np.arange(60, dtype=float) % 7})
    approved = (inputs["age"] > 30).astype(int)
    fitted = LogisticRegression().fit(inputs, approved)  # type: ignore[no-untyped-call] # it ships no types
    scores = fitted.predict_proba(inputs)[:, 1]
    mlflow.log_metrics({"validation.log_loss": 0.25, "validation.auc": 0.9, "training.auc": 1.0})
    mlflow.set_tag("mlflow.source.git.commit", "abc123")
    mlflow.set_tag("goldenpath.commit_time", datetime(2026, 1, 1, tzinfo=UTC).isoformat())
    mlflow.sklearn.log_model(
        fitted,
        name="model",
        signature=infer_signature(inputs, scores),
        input_example=inputs.head(2),
        pip_requirements=["scikit-learn==1.6.1", "numpy==2.2.0"],
        serialization_format="skops",
    )
    if reference:
        sdk.log_reference(inputs, scores=scores, label=approved)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train(sys.argv[1], Path(sys.argv[2]))))
