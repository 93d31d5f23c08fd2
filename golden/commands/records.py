"""One record: what was asked and answered, by which bytes, with features how old, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from golden.explaining import Explained, explain, value_of
from golden.output import ago, as_dict, console, errors, escape, print_json, table
from golden.session import connect
from goldenpath.modelserver.v1 import events_pb2 as records
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor

if TYPE_CHECKING:
    from golden.reasons import Value


def explain_record(record_id: str, *, json: bool) -> None:
    """Show a record and the reasons for its score."""
    with errors.status("looking for the record, and asking its version for reasons …"):
        told = explain(record_id, connect())
    if json:
        print_json(_document(told))
        return
    _show(told)
    _show_reasons(told)


def _show(told: Explained) -> None:
    record = told.record
    named = value_of(record.units) if record.HasField("units") else ""
    unit = f"   {escape(str(named))}" if named else ""
    console.print(f"[bold]{record.model}@{record.version}[/bold] at {_time(record):%Y-%m-%d %H:%M:%S} UTC{unit}")
    answers = "   ".join(f"{column.name} [bold]{_written(value_of(column))}[/bold]" for column in record.outputs)
    console.print(f"  {answers}   {_outcome(told.found)}")
    role = records.Arm.Name(record.arm).removeprefix("ARM_").lower()
    console.print(
        f"  [dim]{role} in {escape(record.environment)}, epoch {record.epoch}, bytes {record.artifact_digest[:12]}, "
        f"registered by {escape(told.version.registered.registered_by.subject)}[/dim]\n"
    )


def _show_reasons(told: Explained) -> None:
    found, reasons, sources = told.found, told.reasons, _sources(told)
    rows = [
        (one.input, _written(one.value), f"{one.part:+.4g}", sources.get(one.input, "the request"))
        for one in reasons.parts
    ]
    table("input", "value", "adds", "from", rows=rows)
    console.print(f"\n  {reasons.baseline:.4g} is usual; with what these add it is {reasons.score:.4g}")
    if not told.says_the_same:
        console.print(f"  [yellow]It was answered {told.answered:.6g}: the version doesn't say the same twice[/yellow]")
    console.print(f"  [dim]{found.topic}/{found.partition}/{found.offset}, as the audit log names its batch[/dim]")


def _sources(told: Explained) -> dict[str, str]:
    """By input, which feature view gave it, and how old it was."""
    reads = {one.view: one for one in told.found.features}
    at = _time(told.record)
    return {
        name: _source(reads[view.name], at)
        for view in told.version.features.views
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


def _document(told: Explained) -> dict[str, Any]:
    reasons, sources = told.reasons, _sources(told)
    return {
        "record": as_dict(told.found),
        "version": as_dict(told.version.registered),
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
