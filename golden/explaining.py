"""One record with the reasons for its score: found on its topic, and asked of the bytes that served it.

Nothing of it is kept anywhere for this. The monitor finds the record, the registry knows what was usual of its version,
and the deployer lets the version score rows, whether it still serves or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from golden.reasons import Columns, Reasons, Value, background, reasons_of
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.modelserver.v1 import events_pb2 as records
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.profile import ReferenceProfile
from services.profile.columns import coded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from golden.connection import Connection

_SCORE: Final = "score"
_MOST: Final = 5_000  # rows that the deployer takes at once


@dataclass(frozen=True)
class Explained:
    """A record and why it scored so.

    Args:
        found: The record, and where it stands.
        version: The version that answered.
        reasons: Each input's part.
    """

    found: monitor.GetRecordResponse
    version: registry.Version
    reasons: Reasons

    @property
    def record(self) -> records.InferenceRecorded:
        """The record, as a batch of one."""
        return self.found.record

    @property
    def answered(self) -> float:
        """The score that was answered; NaN where there was none."""
        scores = [score for column in self.record.outputs if column.name == _SCORE for score in column.numbers]
        return scores[0] if scores else math.nan

    @property
    def says_the_same(self) -> bool:
        """Whether the version's bytes score the record now as they did then."""
        return math.isnan(self.answered) or math.isclose(self.answered, self.reasons.score, rel_tol=1e-6, abs_tol=1e-9)


def explain(record_id: str, platform: Connection) -> Explained:
    """Find a record, and ask its version for reasons.

    Raises:
        NotFound: nobody knows the record.
        Unavailable: a service doesn't answer, or shap isn't installed.
    """
    found = platform.monitor.GetRecord(monitor.GetRecordRequest(record_id=record_id))
    asked = registry.GetVersionRequest(model=found.record.model, version=found.record.version)
    version = platform.registry.GetVersion(asked).version
    return Explained(found, version, _reasons(found.record, platform))


def value_of(column: records.Column) -> Value:
    """The value of a column of one row; None is missing."""
    if column.codes:
        return column.dictionary[column.codes[0]] if column.codes[0] >= 0 else None
    return None if math.isnan(column.numbers[0]) else column.numbers[0]


def _reasons(record: records.InferenceRecorded, platform: Connection) -> Reasons:
    row = {column.name: value_of(column) for column in record.inputs}
    asked = registry.GetProfileRequest(model=record.model, version=record.version)
    profile = ReferenceProfile.from_bytes(platform.registry.GetProfile(asked).profile)
    return reasons_of(row, background(profile, list(row)), _scorer(record, platform))


def _scorer(record: records.InferenceRecorded, platform: Connection) -> Callable[[Columns], NDArray[np.float64]]:
    def scored(columns: Columns) -> NDArray[np.float64]:
        rows = len(next(iter(columns.values())))
        texts = {column.name for column in record.inputs if column.codes}
        parts = []
        for start in range(0, rows, _MOST):
            inputs = [
                _column(name, values[start : start + _MOST], text=name in texts) for name, values in columns.items()
            ]
            request = deployer.ScoreRowsRequest(
                model=record.model, version=record.version, environment=record.environment, inputs=inputs
            )
            parts.append(np.array(platform.deployer.ScoreRows(request).scores))
        return np.concatenate(parts)

    return scored


def _column(name: str, values: Any, *, text: bool) -> records.Column:
    if not text:
        return records.Column(name=name, numbers=[math.nan if value is None else value for value in values])
    texts = coded(values)
    return records.Column(name=name, dictionary=texts.dictionary, codes=texts.codes.tolist())
