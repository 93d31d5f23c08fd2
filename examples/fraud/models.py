"""The two versions: what each may see, how each is made, and which transactions train and judge them.

Version 1 is a handful of rules about the request itself, found by a small tree, that anybody can read. Version 2 knows
what customers usually do and which terminals were abused lately, and is boosted trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier

from examples.fraud.features import WARM_UP
from examples.fraud.simulator import LATEST

REQUEST: Final = ("amount", "at_night", "on_weekend")
"""What version 1 sees."""

HELD_OUT: Final = 28
"""Days at the end of the data that no version is trained on."""

RULES: Final = 8
"""How many rules version 1 has: leaves of its tree."""

FEWEST: Final = 200
"""Transactions that a rule stands on at least; and a leaf of version 2's trees, which are many, on half as many."""


def inputs_of(version: int, features: pd.DataFrame) -> pd.DataFrame:
    """The columns that a version sees."""
    return features[list(REQUEST)] if version == 1 else features


def estimator_of(version: int, seed: int) -> Any:
    """An untrained classifier whose probabilities are those of fraud."""
    if version == 1:
        return DecisionTreeClassifier(
            criterion="log_loss", max_leaf_nodes=RULES, min_samples_leaf=FEWEST, random_state=seed
        )
    return HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.08, max_leaf_nodes=16, min_samples_leaf=FEWEST // 2, random_state=seed
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Which transactions train and which are held out, one truth value per row."""

    train: NDArray[np.bool_]
    held_out: NDArray[np.bool_]


def split(transactions: pd.DataFrame, days: int, held_out: int = HELD_OUT) -> Split:
    """Train once every window is full, on what was known when training; hold out the days after that moment.

    Args:
        transactions: From the world's first day on.
        days: The last of them, counted from the first, that is still held out; later ones are in neither.
        held_out: How many days are.
    """
    began = transactions["time"].min().normalize()
    now = began + timedelta(days=days - held_out)
    warm = transactions["time"] >= began + timedelta(days=WARM_UP)
    known = transactions["time"] < now - timedelta(days=LATEST)
    ahead = (transactions["time"] >= now) & (transactions["time"] < began + timedelta(days=days))
    return Split((warm & known).to_numpy(), ahead.to_numpy())
