"""Traces: one connected story per episode, across processes and Kafka.

Spans go to a file of JSON lines per process (embedded mode, read by `golden trace`), and to an OTLP back end where
OTEL_EXPORTER_OTLP_ENDPOINT names one. Control-plane spans are always sampled. A context that must outlive a process
(with an outbox row, a version, a decision) is kept as a W3C traceparent: `current_traceparent`, `continuing`.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_W3C = TraceContextTextMapPropagator()
_FLUSH_MS = 250  # a person who asks `golden trace` right after a step should find it


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute, as a registry of telemetry has it.

    Args:
        on: Whether spans or log lines carry it.
        unit: What its value is: text, or a number's unit.
        about: One line.
    """

    on: Literal["span", "log", "both"]
    unit: str
    about: str


def configure(service: str, *, traces_folder: Path | None) -> TracerProvider:
    """Set tracing up for a process, and flush it at exit. Call it once, before anything makes a span."""
    provider = TracerProvider(resource=Resource.create({"service.name": service, "process.pid": os.getpid()}))
    if traces_folder is not None:
        traces_folder.mkdir(parents=True, exist_ok=True)
        file = FileSpanExporter(traces_folder / f"{service}-{os.getpid()}.jsonl", service)
        provider.add_span_processor(BatchSpanProcessor(file, schedule_delay_millis=_FLUSH_MS))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    atexit.register(provider.shutdown)
    return provider


class FileSpanExporter(SpanExporter):
    """Appends spans to a file, one JSON object a line.

    Keys: trace_id, span_id, parent_id (hex; parent_id empty at a root), name, kind, service, pid, start_ns, end_ns,
    status, attributes, links (a list of trace_id and span_id).
    """

    def __init__(self, path: Path, service: str) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._service = service

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append these spans, and flush."""
        self._file.write("".join(json.dumps(self._row(span)) + "\n" for span in spans))
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()

    def _row(self, span: ReadableSpan) -> dict[str, Any]:
        context = span.get_span_context()
        return {
            "trace_id": f"{context.trace_id:032x}" if context else "",
            "span_id": f"{context.span_id:016x}" if context else "",
            "parent_id": f"{span.parent.span_id:016x}" if span.parent else "",
            "name": span.name,
            "kind": span.kind.name.lower(),
            "service": self._service,
            "pid": os.getpid(),
            "start_ns": span.start_time,
            "end_ns": span.end_time,
            "status": span.status.status_code.name.lower(),
            "attributes": dict(span.attributes or {}),
            "links": [
                {"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}"}
                for link in span.links
            ],
        }


def current_traceparent() -> str:
    """The present span's W3C traceparent, to be kept with a row; empty outside a span."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str = "",
    links: Sequence[str] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """Run something inside a span.

    Args:
        name: Its name, from `instruments.SPANS`.
        kind: Its kind.
        parent: A stored traceparent that it continues; empty: the present span.
        links: Stored traceparents that it joins without continuing them; empty ones are passed over.
        attributes: What is known at the start.
    """
    tracer = trace.get_tracer("goldenpath")
    within = _context(parent) if parent else None
    joined = [Link(context) for context in map(_span_context, links) if context.is_valid]
    with tracer.start_as_current_span(name, context=within, kind=kind, links=joined, attributes=attributes) as made:
        yield made


def about(model: str, version: int = 0) -> None:
    """Say on the present span which model, and which version, it is about: how a version's story is found."""
    present = trace.get_current_span()
    present.set_attribute("goldenpath.model", model)
    if version:
        present.set_attribute("goldenpath.version", version)


def exemplar() -> dict[str, str] | None:
    """The present trace, as a metric's exemplar; None where there is none."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid else None


def hop_of(headers: Sequence[tuple[str, bytes]]) -> str:
    """The traceparent of the hop that carried an event, out of its headers; empty where it came without."""
    values = (value for name, value in headers if name == "traceparent" and value)
    return next((value.decode("ascii", "replace") for value in values), "")


@contextmanager
def continuing(traceparent: str) -> Iterator[None]:
    """Run something within a stored trace context, without a span of its own."""
    token = otel_context.attach(_context(traceparent))
    try:
        yield
    finally:
        otel_context.detach(token)


def _context(traceparent: str) -> otel_context.Context:
    return _W3C.extract({"traceparent": traceparent}, context=otel_context.Context())


def _span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()
