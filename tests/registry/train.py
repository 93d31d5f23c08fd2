"""Trains tiny models into an MLflow, as notebooks would, and prints their runs as JSON. A script: mlflow warns."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from golden import sdk

store, artifacts = sys.argv[1], Path(sys.argv[2])
mlflow.set_tracking_uri(store)
mlflow.create_experiment("credit", artifact_location=artifacts.as_uri())
mlflow.set_experiment("credit")

inputs = pd.DataFrame({"age": np.arange(60, dtype=float), "hours": np.arange(60, dtype=float) % 7})
approved = (inputs["age"] > 30).astype(int)
model = LogisticRegression().fit(inputs, approved)  # type: ignore[no-untyped-call] # scikit-learn ships no types
scores = model.predict_proba(inputs)[:, 1]


def log(*, reference: bool) -> None:
    """Log the model, and what a good run has beside it."""
    mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(inputs, scores),
        input_example=inputs.head(2),
        pip_requirements=["scikit-learn==1.6.1", "numpy==2.2.0"],
        serialization_format="skops",
    )
    mlflow.log_metrics({"validation.log_loss": 0.25, "validation.auc": 0.9, "training.auc": 1.0})
    mlflow.set_tag("mlflow.source.git.commit", "abc123")
    mlflow.set_tag("goldenpath.commit_time", datetime(2026, 1, 1, tzinfo=UTC).isoformat())
    if reference:
        sdk.log_reference(inputs, scores=scores, label=approved)


runs = {}
with mlflow.start_run() as run:
    log(reference=True)
    runs["whole"] = run.info.run_id
with mlflow.start_run() as run:
    log(reference=False)
    runs["without reference"] = run.info.run_id
with mlflow.start_run() as run:
    mlflow.log_metric("validation.auc", 0.5)
    runs["without model"] = run.info.run_id
sys.stdout.write(json.dumps(runs))
