"""The reference rows of a run, as a profile: inputs under their own names, the model's scores, the outcomes.

The run logs them with its training data (goldenpath/reference.parquet), in time order: `__score__` is what the model
gave, `__label__` what was true (1 or 0 for a classifier), both numbers; `__time__`, where it is there, when each row
came, in microseconds since 1970-01-01 UTC: then the profile is by hour and weekday, too. So the registry never needs
the model to know what it answers. Where outcomes are known, the profile says what they let one expect (`expecting`).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid
from services.profile import profile_of
from services.profile.canonical import MOST_BYTES
from services.profile.columns import Counts
from services.profile.seasons import with_seasons
from services.profile.vectors import stacked
from services.registry.clients.expecting import expected_of

REFERENCE_PATH: Final = "goldenpath/reference.parquet"
SCORE: Final = "__score__"
LABEL: Final = "__label__"
TIME: Final = "__time__"
_OUTPUT: Final = "score"  # what the model servers call it in their answers and records
_LEAST_PROBABILITY: Final = 1e-15  # a certain and wrong answer costs 34.5 nats, not infinitely many


def reference_of(path: Path, signature: str) -> tuple[bytes, float]:
    """The profile of a reference file, and the log loss of its scores.

    Args:
        path: The Parquet file.
        signature: The model's, as JSON; its inputs are what is profiled. Empty: every column is.

    Returns:
        The profile's bytes, and the mean log loss in nats; NaN where labels are missing, or aren't 0 and 1.

    Raises:
        Invalid: it isn't Parquet, lacks an input, or a column can't be profiled; `where` names it.
    """
    from pyarrow import lib, parquet

    try:
        table = parquet.ParquetFile(path).read()  # type: ignore[no-untyped-call] # pyarrow is typed in part
    except (lib.ArrowException, OSError) as error:
        raise Invalid(f"the file isn't Parquet: {str(error).partition(chr(10))[0]}", where=REFERENCE_PATH) from None
    columns = {name: _array(table.column(name), name) for name in _inputs(table.column_names, signature)}
    scores = {_OUTPUT: _array(table.column(SCORE))} if SCORE in table.column_names else {}
    profile = profile_of(columns, scores=scores)
    if TIME in table.column_names:
        profile = with_seasons(profile, columns | scores, _times(table.column(TIME)))
    labels = _array(table.column(LABEL)) if LABEL in table.column_names else None
    given = scores.get(_OUTPUT)
    if labels is not None and labels.ndim != 1:
        raise Invalid("a label is one value, not a list", where=LABEL, fix="log one outcome for each row")
    if given is not None and labels is not None and "O" not in {given.dtype.kind, labels.dtype.kind}:
        told = given.astype(np.float64), labels.astype(np.float64)
        more = replace(profile, expected=expected_of(profile, columns, *told))
        profile = more if len(more.to_bytes()) <= MOST_BYTES else profile
    return profile.to_bytes(), log_loss(given, labels)


def _inputs(found: list[str], signature: str) -> list[str]:
    wanted = [str(field["name"]) for field in json.loads(signature)["inputs"] if "name" in field] if signature else []
    for name in wanted:
        if name not in found:
            raise Invalid(
                f"the reference rows lack the model's input {name!r}",
                where=REFERENCE_PATH,
                fix="log all of the model's inputs with the reference",
            )
    return wanted or [name for name in found if name not in (SCORE, LABEL, TIME)]


def _times(column: Any) -> Counts:
    times = _array(column)
    if times.dtype.kind != "f" or not np.isfinite(times.astype(np.float64)).all():
        raise Invalid(
            "a row's moment is missing or no number", where=TIME, fix="log a moment for every row, or for none"
        )
    return times.astype(np.int64)


def _array(column: Any, name: str = "") -> NDArray[np.generic]:
    """A column as numbers with NaN for what is missing, as text with None, or as vectors."""
    from pyarrow import lib, types  # type: ignore[attr-defined] # pyarrow is typed in part

    if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        return stacked(column.to_numpy(), name)
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type) or types.is_integer(column.type):
        column = column.cast(lib.float64())
    array: NDArray[np.generic] = column.to_numpy()
    return array


def log_loss(scores: NDArray[np.generic] | None, labels: NDArray[np.generic] | None) -> float:
    """The mean log loss of probabilities, over the rows whose label is known.

    Args:
        scores: Probabilities of the positive class, 0 to 1, shape (rows,); None where there are none.
        labels: 1, 0, or NaN where unknown, shape (rows,); None where there are none.

    Returns:
        Nats, 0 or more; NaN where no label is known, or where the two aren't probabilities and classes.

    >>> round(log_loss(np.array([0.5, 0.5]), np.array([1.0, 0.0])), 3)
    0.693
    """
    if scores is None or labels is None or "O" in {scores.dtype.kind, labels.dtype.kind}:
        return math.nan
    truth = labels.astype(np.float64)
    known = np.isfinite(truth)
    truth, given = truth[known], scores.astype(np.float64)[known]
    if not truth.size or not np.isin(truth, (0.0, 1.0)).all() or not ((given >= 0) & (given <= 1)).all():
        return math.nan
    right = np.where(truth == 1.0, given, 1.0 - given)
    return float(-np.log(np.clip(right, _LEAST_PROBABILITY, 1.0)).mean())
