"""Tallies and residuals as bytes, so that a day's can be kept and added to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain import compressed
from services.monitor.domain.performance import BINS, CostMatrix, Tally, tally
from services.monitor.domain.promise import Promise
from services.monitor.domain.residuals import Residuals, residuals
from services.profile.columns import Counts, Numbers

Sums: TypeAlias = Tally | Residuals


def sums_of(promise: Promise, scores: Numbers, outcomes: Numbers, amounts: Numbers) -> Sums:
    """What records with outcomes add up to, as the promise has them; all shapes (rows,)."""
    if promise.classified:
        return tally(scores, outcomes, threshold=promise.threshold, amounts=amounts)
    return residuals(scores, outcomes, quantile=promise.quantile)


def metrics_of(sums: Sums, cost: CostMatrix | None) -> dict[str, float]:
    """Each metric that can be had, by its usual name."""
    if isinstance(sums, Residuals):
        found = {"rmse": sums.rmse(), "mae": sums.mae(), "bias": sums.bias(), "quantile_loss": sums.quantile_loss()}
    else:
        found = {
            "auc": sums.auc().value,
            "average_precision": sums.average_precision().value,
            "log_loss": sums.log_loss(),
            "calibration_error": sums.calibration_error(),
            "precision": sums.precision(),
            "recall": sums.recall(),
            "accuracy": sums.accuracy(),
        }
        if cost is not None and sums.rows:
            found["cost"] = sums.cost(cost) / sums.rows
    return {name: value for name, value in found.items() if not math.isnan(value)}


def to_bytes(sums: Sums) -> bytes:
    """As compressed JSON."""
    if isinstance(sums, Residuals):
        told: dict[str, Any] = {"residuals": [sums.quantile, sums.rows, sums.squares, sums.over, sums.under]}
    else:
        bins = np.flatnonzero(sums.bins.ravel())
        told = {
            "threshold": sums.threshold,
            "bins": [bins.tolist(), sums.bins.ravel()[bins].tolist()],
            "cells": sums.cells.tolist(),
            "amounts": sums.amounts,
            "groups": sums.groups.tolist(),
            "scores": sums.scores,
            "losses": sums.losses,
        }
    return compressed.to_bytes(told)


def from_bytes(kept: bytes) -> Sums:
    """Read what `to_bytes` wrote.

    Raises:
        Invalid: another release wrote it in another form.
    """
    try:
        told = compressed.from_bytes(kept)
        if "residuals" in told:
            return Residuals(*told["residuals"])
        bins: Counts = np.zeros(2 * BINS, dtype=np.int64)
        bins[told["bins"][0]] = told["bins"][1]
        return Tally(
            threshold=told["threshold"],
            bins=bins.reshape(2, BINS),
            cells=np.array(told["cells"], dtype=np.int64),
            amounts=tuple(told["amounts"]),
            groups=np.array(told["groups"], dtype=np.int64),
            scores=tuple(told["scores"]),
            losses=told["losses"],
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Invalid(f"a day's sums can't be read: {error}") from None


def together(one: Sums, two: Sums) -> Sums:
    """Both together.

    Raises:
        Invalid: they are of another kind, or another threshold.
    """
    if isinstance(one, Tally) and isinstance(two, Tally):
        return one + two
    if isinstance(one, Residuals) and isinstance(two, Residuals):
        return one + two
    raise Invalid("a classification's sums and a regression's don't add up")


def all_of(promise: Promise, sums: Iterable[Sums]) -> Sums:
    """All together; of a promise, so that none at all are sums of its kind too."""
    nothing = np.zeros(0)
    return reduce(together, sums, sums_of(promise, nothing, nothing, nothing))
