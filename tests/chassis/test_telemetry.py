"""Traces: an event's story is one connected graph, in memory, across Kafka, and in the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from services.chassis import telemetry
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.settings import KafkaAccess, ServiceSettings
from services.chassis.testing import eventually
from tests.chassis.kit import Service, event, publish, running


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


def trace_of(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


async def has_effect(service: Service, name: str) -> bool:
    return name in await service.effects()


async def test_an_events_story_is_one_connected_graph(
    on_kafka: Service, kafka: str, unique: str, spans: InMemorySpanExporter
) -> None:
    with telemetry.span("train") as training:
        made = event("credit", sequence=1, traceparent=telemetry.current_traceparent())
    await publish(kafka, on_kafka.others, [made])
    relay = Relay(
        on_kafka.database,
        Leases(on_kafka.database, duration=ServiceSettings.model_fields["lease_duration"].default),
        kafka=KafkaAccess(kafka),
    )
    async with running(on_kafka.consumer(unique, kafka).run, relay.run):
        await eventually(lambda: story(spans, training), what="the whole story")

    trace_id = trace_of(training)
    graph = {span_id: parent for trace, span_id, parent in map(ids, spans.get_finished_spans()) if trace == trace_id}
    assert set(graph.values()) - set(graph) == {""}


async def story(spans: InMemorySpanExporter, training: Span) -> bool:
    mine = [span for span in spans.get_finished_spans() if ids(span)[0] == trace_of(training)]
    return {"train", "process project.started", f"publish {of_topic(mine)}"} <= {span.name for span in mine}


def of_topic(spans: Sequence[ReadableSpan]) -> str:
    names = [span.name.removeprefix("publish ") for span in spans if span.name.startswith("publish ")]
    return names[0] if names else ""


async def test_a_batch_is_linked_to_each_of_its_events(
    on_kafka: Service, kafka: str, unique: str, spans: InMemorySpanExporter
) -> None:
    made = []
    for number in range(3):
        with telemetry.span("train"):
            made.append(event(f"{number}", sequence=number + 1, traceparent=telemetry.current_traceparent()))
    await publish(kafka, on_kafka.ours, made)
    async with running(on_kafka.consumer(unique, kafka).run):
        await eventually(lambda: has_effect(on_kafka, "2"), what="every effect")
        batches = await eventually(lambda: named(spans, f"consume {unique}"), what="the batch's span")

    linked = {f"{link.context.trace_id:032x}" for batch in batches for link in batch.links}
    assert linked == {one.traceparent.split("-")[1] for one in made}


async def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def test_a_stored_context_is_continued_and_joined(spans: InMemorySpanExporter) -> None:
    with telemetry.span("registered"):
        registered = telemetry.current_traceparent()
    with telemetry.span("signal"):
        signal = telemetry.current_traceparent()
    with telemetry.span("decided", parent=registered, links=[signal, ""]):
        pass
    with telemetry.continuing(signal):
        assert telemetry.current_traceparent() == signal

    decided = spans.get_finished_spans()[-1]
    assert ids(decided)[0] == registered.split("-")[1]
    assert [f"{link.context.span_id:016x}" for link in decided.links] == [signal.split("-")[2]]


def test_outside_a_span_there_is_no_context() -> None:
    assert telemetry.current_traceparent() == ""


def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(spans: InMemorySpanExporter) -> None:
    with telemetry.span("process", parent="not a traceparent", links=["nor this"]):
        pass

    (found,) = spans.get_finished_spans()
    assert (found.parent, found.links) == (None, ())


SCRIPT = """
import sys
from pathlib import Path
from services.chassis import telemetry
telemetry.configure("registry", traces_folder=Path(sys.argv[1]))
with telemetry.span("outer", attributes={"model": "credit"}):
    outer = telemetry.current_traceparent()
    with telemetry.span("inner"):
        pass
with telemetry.span("later", links=[outer]):
    raise SystemExit(0)
"""


def test_a_process_keeps_its_spans_in_a_file_until_its_end(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "traces")], check=True, timeout=60)

    (file,) = (tmp_path / "traces").glob("registry-*.jsonl")
    spans = {row["name"]: row for row in map(json.loads, file.read_text().splitlines())}
    assert spans["inner"]["parent_id"] == spans["outer"]["span_id"]
    assert spans["outer"]["attributes"] == {"model": "credit"}
    assert spans["later"]["links"] == [{name: spans["outer"][name] for name in ("trace_id", "span_id")}]
    assert spans["outer"]["start_ns"] <= spans["inner"]["start_ns"] <= spans["inner"]["end_ns"]


LOGGING = """
import logging, sys
from services.chassis import logging as ours
from services.chassis import telemetry
import structlog
ours.configure("registry", as_json=sys.argv[1] == "json")
telemetry.configure("registry", traces_folder=None)
password = "hunter2"
with telemetry.span("outer"):
    structlog.get_logger().info("registered", model="credit")
    try:
        raise KeyError("it broke")
    except KeyError as error:
        structlog.get_logger().error("failed", exc_info=error)
logging.getLogger("aiokafka").warning("lost a node")
"""


def logged(kind: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LOGGING, kind], check=True, timeout=60, capture_output=True, text=True)
    assert "hunter2" not in done.stderr
    return done.stderr.splitlines()


def test_a_log_line_for_machines_is_json_with_its_trace_and_service() -> None:
    lines = [json.loads(line) for line in logged("json")]

    assert [line["event"] for line in lines] == ["registered", "failed", "lost a node"]
    assert {line["service"] for line in lines} == {"registry"}
    assert len(lines[0]["trace"]) == 32
    assert lines[1]["exception"][0]["exc_type"] == "KeyError"
    assert lines[2]["level"] == "warning"


def test_a_log_line_for_people_is_text_and_a_traceback_is_plain() -> None:
    text = "\n".join(logged("text"))

    assert "registered" in text
    assert "model=credit" in text.replace("\x1b", "")
    assert "KeyError: 'it broke'" in text
