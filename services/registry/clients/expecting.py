"""Fits what the reference's outcomes let one expect, when a version is registered (`services.profile.expected`).

A classifier's scores are calibrated by isotonic regression (Zadrozny and Elkan 2002, Transforming classifier scores
into accurate multiclass probability estimates). A regression's errors are learnt by a small tree from the inputs and
the prediction, which is direct loss estimation as NannyML defines it
(https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html), with a tree small enough to travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from services.profile import ReferenceProfile, Role
from services.profile.columns import Column, Numbers, coded_of
from services.profile.expected import LARGEST, LEAF, MOST_KNOTS, Calibration, Expected, LossTree, encoded
from services.profile.vectors import with_numbers

LEAST_ROWS: Final = 200  # with an outcome; of fewer nothing can be told
LEAST_OF_EACH: Final = 10  # outcomes of each class
_LARGEST_ERROR: Final = 1e60  # its fourth power is a number still
_LEAVES: Final = 128
_LEAST_LEAF: Final = 50  # rows
_LEAST_SHARE: Final = 0.001  # of the rows


def expected_of(
    profile: ReferenceProfile, columns: Mapping[str, Column], scores: Numbers, labels: Numbers
) -> Expected | None:
    """What the reference lets one expect; None where too few outcomes are known, or errors are beyond all reason.

    Args:
        profile: Its profile.
        columns: Its inputs, by name.
        scores: What the model gave, shape (rows,).
        labels: What turned out, NaN where nobody knows, shape (rows,).
    """
    known = np.isfinite(scores) & np.isfinite(labels)
    if known.sum() < LEAST_ROWS:
        return None
    if np.isin(labels[known], (0.0, 1.0)).all() and ((scores[known] >= 0) & (scores[known] <= 1)).all():
        positives = int(labels[known].sum())
        enough = LEAST_OF_EACH <= positives <= int(known.sum()) - LEAST_OF_EACH
        return _calibration(scores[known], labels[known]) if enough else None
    tolerable = np.abs(scores - labels)[known].max() < _LARGEST_ERROR
    return _tree(profile, columns, scores, labels, known) if tolerable else None


def _calibration(scores: Numbers, labels: Numbers) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted: Any = IsotonicRegression(y_min=0.0, y_max=1.0).fit(scores, labels)  # type: ignore[no-untyped-call] # it ships no types
    knots, likely = fitted.X_thresholds_.astype(np.float64), fitted.y_thresholds_.astype(np.float64)
    chosen = np.unique(np.linspace(0, knots.size - 1, min(knots.size, MOST_KNOTS)).round().astype(int))
    return Calibration(knots[chosen], likely[chosen], rows=labels.size)


def _tree(
    profile: ReferenceProfile, columns: Mapping[str, Column], scores: Numbers, labels: Numbers, known: Any
) -> LossTree:
    from sklearn.tree import DecisionTreeRegressor

    outputs = {each.name: scores for each in profile.features if each.role is Role.SCORE}
    given = {**with_numbers(profile.vectors, columns), **outputs}
    errors = np.abs(scores - labels)
    texts = {
        each.name: _means(given[each.name], each.name, each.categories, errors, known)
        for each in profile.features
        if each.is_text
    }
    names = [each.name for each in profile.features]
    rows = encoded(names, texts, given).T[known]
    least = max(_LEAST_LEAF, int(_LEAST_SHARE * rows.shape[0]))
    grown: Any = DecisionTreeRegressor(max_leaf_nodes=_LEAVES, min_samples_leaf=least, random_state=0)  # type: ignore[no-untyped-call] # it ships no types
    grown.fit(rows, errors[known])
    tree, leaves = grown.tree_, grown.apply(rows)
    held = np.bincount(leaves, minlength=tree.node_count)
    absolute, square, fourth = (
        np.bincount(leaves, weights=errors[known] ** power, minlength=tree.node_count) / np.maximum(held, 1)
        for power in (1, 2, 4)
    )
    inner = tree.children_left >= 0
    asked = np.unique(tree.feature[inner])
    return LossTree(
        tuple(names[place] for place in asked),
        {name: each for name, each in texts.items() if names.index(name) in asked},
        features=np.where(inner, np.searchsorted(asked, tree.feature), LEAF),
        limits=np.where(inner, np.minimum(tree.threshold, LARGEST), 0.0),  # infinity: whether it's missing
        below=np.where(inner, tree.children_left, 0).astype(np.int64),
        above=np.where(inner, tree.children_right, 0).astype(np.int64),
        missing_below=np.where(inner, tree.missing_go_to_left, 0).astype(np.int64),
        absolute=absolute,
        square=square,
        fourth=fourth,
        rows=errors[known].size,
    )


def _means(column: Column, name: str, categories: tuple[str, ...], errors: Numbers, known: Any) -> dict[str, float]:
    """The mean absolute error of each value that the profile tells apart: the number that stands for it."""
    text = coded_of(column, name)
    places = {value: place for place, value in enumerate(text.dictionary)}
    found = {}
    for value in categories:
        those = known & (text.codes == places[value])
        if those.any():
            found[value] = float(errors[those].mean())
    return found
