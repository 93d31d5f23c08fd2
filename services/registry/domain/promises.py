"""The promise: what a version must keep to in production, by default its own validation value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from services.chassis.errors import Invalid
from services.registry.domain.names import finite


class Direction(Enum):
    """Which way a metric is better."""

    LOWER = "lower"
    HIGHER = "higher"


# Metrics whose better way everybody agrees on, the ones that a promise is made of first standing first.
DIRECTIONS: Final[Mapping[str, Direction]] = {
    "log_loss": Direction.LOWER,
    "brier": Direction.LOWER,
    "auc": Direction.HIGHER,
    "average_precision": Direction.HIGHER,
    "f1": Direction.HIGHER,
    "accuracy": Direction.HIGHER,
    "rmse": Direction.LOWER,
    "mae": Direction.LOWER,
    "r2": Direction.HIGHER,
    "quantile_loss": Direction.LOWER,
    "cost": Direction.LOWER,
}
_DEFAULT_MARGIN: Final = 0.1  # of the value: a tenth worse is what most people would ask about; golden.yaml overrides


@dataclass(frozen=True, slots=True)
class Promise:
    """A metric, its registered value and how much worse it may become (in its unit), and which way it is better."""

    metric: str
    value: float
    margin: float
    direction: Direction


@dataclass(frozen=True, slots=True)
class PromiseWish:
    """A promise as golden.yaml says it: value 0 means the run's own, no direction the metric's usual one."""

    metric: str
    value: float = 0.0
    margin: float = 0.0
    direction: Direction | None = None


def promise_of(wish: PromiseWish | None, metrics: Mapping[str, float]) -> Promise | None:
    """What a version promises.

    Args:
        wish: What golden.yaml says; None where it says nothing.
        metrics: The run's validation metrics.

    Returns:
        The wish with the run's own value; without one, the first metric of `DIRECTIONS` that the run has, with a tenth
        of its value as margin; None where there is neither.

    Raises:
        Invalid: the wish names a metric that the run lacks or whose direction nobody knows, or its numbers are wrong.

    >>> promise_of(PromiseWish("auc", margin=0.02), {"auc": 0.932})
    Promise(metric='auc', value=0.932, margin=0.02, direction=<Direction.HIGHER: 'higher'>)
    """
    if wish is None:
        return _default(metrics)
    if finite(wish.margin, where="promise.margin") < 0:
        raise Invalid(f"a margin is 0 or more, not {wish.margin}", where="promise.margin")
    direction = wish.direction or DIRECTIONS.get(wish.metric)
    if direction is None:
        raise Invalid(f"is a smaller or a larger {wish.metric} better?", where="promise.direction", fix="say which")
    return Promise(wish.metric, _value(wish, metrics), wish.margin, direction)


def _value(wish: PromiseWish, metrics: Mapping[str, float]) -> float:
    if finite(wish.value, where="promise.value"):
        return wish.value
    if wish.metric not in metrics:
        logged = ", ".join(sorted(metrics)) or "none"
        raise Invalid(
            f"the run has no metric validation.{wish.metric}; it has: {logged}",
            where="promise.metric",
            fix=f"log validation.{wish.metric}, or give the promise a value",
        )
    return metrics[wish.metric]


def _default(metrics: Mapping[str, float]) -> Promise | None:
    for metric, direction in DIRECTIONS.items():
        if metric in metrics:
            return Promise(metric, metrics[metric], abs(metrics[metric]) * _DEFAULT_MARGIN, direction)
    return None
