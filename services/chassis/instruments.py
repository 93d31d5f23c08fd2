"""Every metric, span and attribute of the suite, with its kind, its unit and one line. Nothing else is recorded.

Names follow OpenTelemetry's semantic conventions where they have one. Services add theirs here, not at the place
that records; the model server, which takes little of the chassis, has a registry of its own. What libraries record by
themselves (FastAPI, gRPC, asyncpg) is theirs to describe. docs/telemetry.md is made from this.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.chassis.telemetry import Attribute

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DEPLOYMENT = ["model", "environment", "role"]

OUTBOX_SENT: Final = Counter("goldenpath_outbox_sent_events", "Events that Kafka has acknowledged.")
OUTBOX_AGE: Final = Gauge(
    "goldenpath_outbox_oldest_seconds", "How long the oldest event has waited to be sent; else 0."
)
CONSUMED: Final = Counter(
    "goldenpath_consumed_events",
    "Events by what became of them: handled, skipped, duplicate, parked, dead, rebuilt or not rebuilt.",
    ["consumer", "type", "result"],
)
SEQUENCE_GAPS: Final = Counter(
    "goldenpath_sequence_gap_events", "Events that an aggregate's sequence skipped.", ["consumer"]
)
PARKED: Final = Gauge("goldenpath_parked_events", "Events that wait for their aggregate.", ["consumer"])
DEAD_LETTERS: Final = Gauge("goldenpath_dead_letter_events", "Events that wait for an operator.", ["consumer"])
STOPPED: Final = Gauge(
    "goldenpath_consumer_stopped", "1 once the dead-letter limit has stopped it; else 0.", ["consumer"]
)
UNTOLD: Final = Counter(
    "goldenpath_untold_events", "Events that a rebuild would have told a second time, by type.", ["type"]
)
BATCH_SECONDS: Final = Histogram(
    "goldenpath_consume_batch_seconds", "One polled batch's transaction.", ["consumer"], buckets=_SECONDS
)
HOP_SECONDS: Final = Histogram(
    "goldenpath_hop_seconds",
    "From an event's creation to its handler, by the clocks of both.",
    ["consumer"],
    buckets=_SECONDS,
)
RPC_SECONDS: Final = Histogram(
    "goldenpath_rpc_seconds",
    "gRPC calls answered, by method and status.",
    ["method", "status"],
    buckets=_SECONDS,
)

# Governance.
GOVERNANCE_VERDICTS: Final = Counter(
    "goldenpath_governance_verdicts", "Verdicts that were news, by what they say.", ["state"]
)
GOVERNANCE_LOG_ENTRIES: Final = Gauge("goldenpath_governance_log_entries", "Entries in the append-only log.")

# The deployer.
DEPLOYER_DECISION_SECONDS: Final = Histogram(
    "goldenpath_deployer_decision_seconds",
    "From a signal's arrival to what was decided about it, by what was decided.",
    ["verb"],
    buckets=_SECONDS,
)
DEPLOYER_EFFECT_SECONDS: Final = Histogram(
    "goldenpath_deployer_effect_seconds",
    "From a decision to the proxy showing it, by the event that tells of it.",
    ["type"],
    buckets=_SECONDS,
)

# The monitor.
MONITOR_BATCHES: Final = Counter(
    "goldenpath_monitor_batches", "Batches of records by what became of them: read or dead.", ["result"]
)
MONITOR_RECORDS: Final = Counter("goldenpath_monitor_records", "Records that were read.")
MONITOR_OUTCOMES: Final = Counter(
    "goldenpath_monitor_outcomes",
    "Outcomes by what became of them: kept; corrected before they counted; repeated; too_late, where they say otherwise"
    " than what was counted; expired, where their record is older than any that is kept; left_out of the sample that is"
    " kept; unmatched, where their record never came or had been counted without one.",
    ["result"],
)
MONITOR_DUE: Final = Counter(
    "goldenpath_monitor_due_records",
    "Records that came due, by whether their outcome was known or missing.",
    ["result"],
)
MONITOR_UNCOUNTED: Final = Gauge(
    "goldenpath_monitor_uncounted_watches",
    "Versions in a role whose due records couldn't be counted, as the replica that counts says; others say 0.",
)
MONITOR_UNJOINED: Final = Counter(
    "goldenpath_monitor_unjoined_sides",
    "Logged requests or answers that were let go before their other side came.",
)
MONITOR_SEEN: Final = Gauge(
    "goldenpath_monitor_seen_records", "Records that a version was seen with in its role.", _DEPLOYMENT
)
MONITOR_EVIDENCE: Final = Gauge(
    "goldenpath_monitor_evidence_nats",
    "Natural logarithm of the evidence that anything changed, since it restarted.",
    _DEPLOYMENT,
)
MONITOR_DRIFTING: Final = Gauge(
    "goldenpath_monitor_drifting_parts", "Features, or parts of them, beyond their tolerance.", _DEPLOYMENT
)

MONITOR_SIGNALS: Final = Counter(
    "goldenpath_monitor_signals",
    "Findings by what they say: noticed, detected, cleared, degraded or violated; with the trace of the newest as its"
    " exemplar.",
    [*_DEPLOYMENT, "level"],
)

SPANS: Final = {
    "publish TOPIC": "A relay sends an event; its parent is the context in which the event was created.",
    "process TYPE": "A consumer handles an event; its parent is the hop that carried it.",
    "consume CONSUMER": "One polled batch's transaction; linked to the process spans of its events.",
    "retry TYPE": "A parked event is handled again; its parent is the hop that carried it.",
    "rebuild TYPE": "An event is told again to a read model that has forgotten it; linked to the hop that carried it.",
    "look again MODEL": "Governance judges a version anew; its parent is the context of what changed.",
    # The registry.
    "bring RUN": "An MLflow run's files are copied into the artifact store, before its registration's transaction.",
    # The deployer.
    "begin rollout": "The registry and governance are asked about a version; its parent is the approval's hop.",
    "start model server": "A server process is started; its parent is the rollout's episode.",
    "give traffic": "A version predicts its registered example and gets its first share.",
    "judge rollout": "A judge's word moves a rollout on, or ends it.",
    "end rollout": "A rollout failed before it had traffic.",
    "make effective": "The proxy shows what was decided, and it is told; its parent is the decision.",
    "decide": "A signal is answered; its parent is the hop that carried it.",
    "guard": "What a stable version does is compared with those who stayed behind on the one before it.",
    # The monitor.
    "signal MODEL": "A finding becomes a signal: where its episode begins; linked to the batches that it came from.",
    # The command line and the notebook.
    "register": "A person registers a version: where its episode begins.",
    "retrain": "A trainer runs a project's command and registers what came of it; its parent is the request's context.",
    "METHOD": "A person asks a service to change something, by the gRPC method's name: where an episode begins.",
}

ATTRIBUTES: Final = {
    # Spans, by OpenTelemetry's and CloudEvents' conventions.
    "messaging.system": Attribute("span", "text", "Always kafka."),
    "messaging.destination.name": Attribute("span", "text", "The topic."),
    "messaging.destination.partition.id": Attribute("span", "text", "The partition."),
    "messaging.kafka.offset": Attribute("span", "offset", "Where the event stands in its partition."),
    "messaging.batch.message_count": Attribute("span", "events", "How many events one poll brought."),
    "cloudevents.event_id": Attribute("span", "text", "The event's id."),
    "cloudevents.event_subject": Attribute("span", "text", "The aggregate that it happened to, such as model/NAME."),
    # Spans, our own.
    "goldenpath.model": Attribute("span", "text", "The model that it is about: how a version's story is found."),
    "goldenpath.version": Attribute("span", "version", "The version that it is about, from 1."),
    "event": Attribute("span", "text", "The type of the event that tells of the effect."),
    "verb": Attribute("both", "text", "What was decided: roll_back, hold, retrain, abort or ignore."),
    "word": Attribute("span", "text", "What the judge of a rollout said: pass, fail or inconclusive."),
    # Both.
    "signal": Attribute("both", "text", "The id of the signal that is decided about."),
    "version": Attribute("both", "version", "The version that it is about, from 1."),
    # Log lines: every one.
    "service": Attribute("log", "text", "Who says it."),
    "trace": Attribute("log", "text", "The trace that it belongs to, 32 hex digits; `golden trace` finds it."),
    # Log lines: where something happened.
    "consumer": Attribute("log", "text", "The consumer, as in consumer groups and inbox rows."),
    "deployment": Attribute("log", "text", "The deployment, MODEL/ENVIRONMENT."),
    "job": Attribute("log", "text", "The deployer's job."),
    "lease": Attribute("log", "text", "The lease under which the work is done."),
    "method": Attribute("log", "text", "The gRPC method that failed."),
    "migration": Attribute("log", "text", "The migration that was applied."),
    "model": Attribute("log", "text", "The model."),
    "offset": Attribute("log", "offset", "Where the event stands in its partition."),
    "part": Attribute("log", "text", "The part of the service, as its app puts it together."),
    "partition": Attribute("log", "partition", "The partition."),
    "path": Attribute("log", "text", "The HTTP path that failed."),
    "stood": Attribute("log", "text", "Where an event stood, TOPIC/PARTITION@OFFSET."),
    "topic": Attribute("log", "text", "The topic."),
    # Log lines: what, why, and how much.
    "actor": Attribute("log", "text", "Who asked for it."),
    "effective_after": Attribute("log", "milliseconds, with the unit", "From the decision until the proxy showed it."),
    "fate": Attribute("log", "text", "What becomes of the event: dead letter, parked or partition paused."),
    "findings": Attribute("log", "list of texts", "What a verdict found wanting."),
    "folders": Attribute("log", "folders", "How many left-over folders were taken away."),
    "pid": Attribute("log", "process id", "The model server's process."),
    "reason": Attribute("log", "text", "Why, as the error says it."),
    "tries": Attribute("log", "tries", "How often an event that fails in an unforeseen way was tried."),
}
