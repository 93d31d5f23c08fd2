"""Requests' records as the inference leaves them, of a model with two columns."""

from __future__ import annotations

import uuid

from services.modelserver.columns import Entry
from services.modelserver.predict import Prediction
from services.modelserver.route import Arm, Route
from services.modelserver.schema import Rows
from services.modelserver.signature import Input

INPUTS = (Input("age", "FP64"), Input("job", "BYTES"))


def entry(*ages: float | None, job: str | None = "clerk", epoch: int = 1) -> Entry:
    """One request's records, a row per age."""
    rows = Rows([list(ages), [job] * len(ages)], len(ages))
    ids = [uuid.uuid4().bytes for _ in ages]
    route = Route(request_id="r", epoch=epoch, arm=Arm.STABLE)
    return Entry(route, ids, 1_000_000, rows, Prediction([0.5] * len(ages), ["yes"] * len(ages)), 12, "")
