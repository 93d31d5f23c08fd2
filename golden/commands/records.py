"""One record: what was asked and answered, by which bytes, with features how old, and why."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from golden.output import ago, as_dict, console, errors, escape, print_json, table
from golden.session import connect
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.modelserver.v1 import events_pb2 as records
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor
from goldenpath.registry.v1 import registry_service_pb2 as registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from golden.connection import Connection
    from golden.reasons import Columns, Reasons, Value

_SCORE: Final = "score"
_MOST: Final = 5_000  # rows that the deployer takes at once
_SAME: Final = 1e-9


def explain_record(record_id: str, *, json: bool) -> None:
    """Show a record and the reasons for its score."""
    platform = connect()
    with errors.status("looking for the record …") as status:
        found = platform.monitor.GetRecord(monitor.GetRecordRequest(record_id=record_id))
        asked = registry.GetVersionRequest(model=found.record.model, version=found.record.version)
        version = platform.registry.GetVersion(asked).version
        status.update("asking the version for its reasons …")
        reasons = _reasons(found.record, platform)
    if json:
        print_json(_document(found, version, reasons))
        return
    _show(found, version)
    _show_reasons(found, version, reasons)


def _reasons(record: records.InferenceRecorded, platform: Connection) -> Reasons:
    from golden.reasons import background, reasons_of
    from services.profile import ReferenceProfile

    row = {column.name: _value(column) for column in record.inputs}
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
    dictionary = sorted({value for value in values if value is not None})
    place = {value: at for at, value in enumerate(dictionary)}
    return records.Column(name=name, dictionary=dictionary, codes=[place.get(value, -1) for value in values])


def _value(column: records.Column) -> Value:
    if column.codes:
        return column.dictionary[column.codes[0]] if column.codes[0] >= 0 else None
    return None if math.isnan(column.numbers[0]) else column.numbers[0]


def _show(found: monitor.GetRecordResponse, version: registry.Version) -> None:
    record = found.record
    unit = f"   {escape(str(_value(record.units)))}" if record.HasField("units") else ""
    console.print(f"[bold]{record.model}@{record.version}[/bold] at {_time(record):%Y-%m-%d %H:%M:%S} UTC{unit}")
    answers = "   ".join(f"{column.name} [bold]{_written(_value(column))}[/bold]" for column in record.outputs)
    console.print(f"  {answers}   {_outcome(found)}")
    role = records.Arm.Name(record.arm).removeprefix("ARM_").lower()
    console.print(
        f"  [dim]{role} in {escape(record.environment)}, epoch {record.epoch}, bytes {record.artifact_digest[:12]}, "
        f"registered by {escape(version.registered.registered_by.subject)}[/dim]\n"
    )


def _show_reasons(found: monitor.GetRecordResponse, version: registry.Version, reasons: Reasons) -> None:
    sources = _sources(found, version)
    rows = [
        (one.input, _written(one.value), f"{one.part:+.4g}", sources.get(one.input, "the request"))
        for one in reasons.parts
    ]
    table("input", "value", "adds", "from", rows=rows)
    console.print(f"\n  {reasons.baseline:.4g} is usual; with what these add it is {reasons.score:.4g}")
    recorded = next((_value(column) for column in found.record.outputs if column.name == _SCORE), None)
    if isinstance(recorded, float) and not math.isclose(recorded, reasons.score, rel_tol=1e-6, abs_tol=_SAME):
        console.print(f"  [yellow]It was answered {recorded:.6g}: the version doesn't say the same twice[/yellow]")
    console.print(f"  [dim]{found.topic}/{found.partition}/{found.offset}, as the audit log names its batch[/dim]")


def _sources(found: monitor.GetRecordResponse, version: registry.Version) -> dict[str, str]:
    """By input, which feature view gave it, and how old it was."""
    reads = {one.view: one for one in found.features}
    at = _time(found.record)
    return {
        name: _source(reads[view.name], at)
        for view in version.features.views
        if view.name in reads
        for name in view.inputs
    }


def _source(read: monitor.RecordFeatures, at: datetime) -> str:
    if not read.HasField("event_time"):
        return f"{read.view}: {read.outcome}"
    return f"{read.view}: {read.outcome}, {ago(read.event_time, at)} old"


def _outcome(found: monitor.GetRecordResponse) -> str:
    if found.HasField("label"):
        return f"outcome {escape(found.label)}"
    return f"outcome {found.value:g}" if found.HasField("value") else "[dim]no outcome yet[/dim]"


def _time(record: records.InferenceRecorded) -> datetime:
    return datetime.fromtimestamp(record.event_times_us[0] / 1e6, UTC)


def _written(value: Value) -> str:
    if value is None:
        return "missing"
    return escape(value) if isinstance(value, str) else f"{value:.6g}"


def _document(found: monitor.GetRecordResponse, version: registry.Version, reasons: Reasons) -> dict[str, Any]:
    sources = _sources(found, version)
    return {
        "record": as_dict(found),
        "version": as_dict(version.registered),
        "score": reasons.score,
        "baseline": reasons.baseline,
        "reasons": [
            {
                "input": one.input,
                "value": one.value,
                "part": one.part,
                "standard_error": one.error,
                "source": sources.get(one.input, "request"),
            }
            for one in reasons.parts
        ],
    }
