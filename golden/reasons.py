"""Why a version scored a row as it did: each input's part, in the sense of Shapley values.

The parts are of the version's own scores: it is asked for them, and nothing is assumed about what it is inside. An
input that is left out is replaced by values like the reference's, each input on its own, since a profile says how each
was distributed and not which went together. So a part says what this value did, beside what is usual. The parts and the
baseline sum to the score.

Source: Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; by permutations, as the
package shap has them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid, Unavailable
from services.profile import ReferenceProfile
from services.profile.reference import Feature, Role

BACKGROUND: Final = 64
"""Rows that stand for the reference."""

_ROUNDS: Final = 8  # permutations, forwards and backwards: their spread is the standard error
_SEED: Final = 1

Value = float | str | None
Columns = Mapping[str, Sequence[Value]]
Score = Callable[[Columns], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Reason:
    """One input's part in a score.

    Args:
        input: The input's name.
        value: Its value in the row; None is missing.
        part: What it adds to the score, in the score's unit.
        error: The standard error of `part`, 0 or more.
    """

    input: str
    value: Value
    part: float
    error: float


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a row scores as it does.

    Args:
        score: The score, as the version gives it now.
        baseline: The mean score of rows that look like the reference's.
        parts: The inputs' parts, the largest first.
    """

    score: float
    baseline: float
    parts: tuple[Reason, ...]


def background(profile: ReferenceProfile, inputs: Sequence[str], rows: int = BACKGROUND) -> dict[str, list[Value]]:
    """Rows that look like the reference's, each input on its own, the same for the same profile.

    Args:
        profile: The version's reference.
        inputs: The model's inputs.
        rows: How many.

    Raises:
        Invalid: the profile doesn't have an input.
    """
    features = {one.name: one for one in profile.features if one.role is Role.INPUT}
    if missing := sorted(set(inputs) - features.keys()):
        raise Invalid(f"the reference doesn't say what is usual of {', '.join(missing)}", where="profile")
    chance = np.random.default_rng(_SEED)
    return {name: _drawn(features[name], rows, chance) for name in inputs}


def reasons_of(row: Mapping[str, Value], usual: Mapping[str, Sequence[Value]], score: Score) -> Reasons:
    """Each input's part in a row's score.

    Args:
        row: The row, a value by input.
        usual: Rows that stand for the reference, a column by input.
        score: The version's scores of rows given by columns.

    Raises:
        Unavailable: the package that finds the parts isn't installed.
    """
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # to compile costs five seconds, and saves none for one row
    try:
        from shap.explainers import Permutation
        from shap.maskers import Independent
    except ImportError:
        raise Unavailable("shap isn't installed here", fix="pip install 'goldenpath[reasons]'") from None

    names = list(row)
    values: dict[str, list[Value]] = {name: [*usual[name], row[name]] for name in names}
    last = len(values[names[0]]) - 1

    def scored(places: NDArray[Any]) -> NDArray[np.float64]:
        picked = places.astype(int)
        return score({name: [values[name][at] for at in picked[:, column]] for column, name in enumerate(names)})

    # An input's value is named by its place among the values that occur, so that texts are numbers to the package.
    usual_places = np.repeat(np.arange(last, dtype=float)[:, np.newaxis], len(names), axis=1)
    explainer = Permutation(scored, Independent(usual_places, max_samples=last), seed=_SEED)
    evaluations = _ROUNDS * 2 * len(names) + 1
    found = explainer(np.full((1, len(names)), float(last)), max_evals=evaluations, error_bounds=True, silent=True)
    baseline, parts, errors = float(found.base_values[0]), found.values[0], found.error_std[0]
    made = [
        Reason(name, row[name], float(part), float(error))
        for name, part, error in zip(names, parts, errors, strict=True)
    ]
    ordered = tuple(sorted(made, key=lambda one: -abs(one.part)))
    return Reasons(baseline + float(parts.sum()), baseline, ordered)


def _drawn(feature: Feature, rows: int, chance: np.random.Generator) -> list[Value]:
    """Values of one input as often as the reference has them; what it has lumped together is missing."""
    shares = feature.counts / feature.counts.sum()
    bins = chance.choice(feature.bins, size=rows, p=shares)
    stands_for: list[Value] = [*feature.categories, None, None] if feature.is_text else [*feature.values.tolist(), None]
    return [stands_for[each] for each in bins]
