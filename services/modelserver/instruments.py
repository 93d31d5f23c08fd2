"""Every metric, span and attribute of the model server, with its unit and one line. Nothing else is recorded.

Children of labelled metrics are looked up once, here or by whoever is built, since looking one up costs as much as
counting. Version and model are not labels: a process serves one, and whoever scrapes it knows which.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

from services.chassis.telemetry import Attribute

# From 0.25 ms, about the fastest prediction over HTTP, to 2.5 s, beyond which a client has gone.
_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

REQUESTS: Final = Counter(
    "goldenpath_modelserver_requests",
    "Inference requests answered; result is ok, or the error's kind: Invalid, NotFound, Unavailable, Internal.",
    ["protocol", "result"],
)
SECONDS: Final = Histogram(
    "goldenpath_modelserver_inference_seconds",
    "One inference request that was answered well, from its last byte to its answer, without the network.",
    ["protocol"],
    buckets=_SECONDS,
)
ROWS: Final = Counter("goldenpath_modelserver_predicted_rows", "Rows predicted.")
FEATURES_READ: Final = Counter(
    "goldenpath_modelserver_features_read",
    "Rows for which a feature view was read, by what came of it: found, stale, unknown, late or failed.",
    ["view", "outcome"],
)
FEATURE_SECONDS: Final = Histogram(
    "goldenpath_modelserver_feature_seconds",
    "Reading the features of one request, as long as it waited for them.",
    buckets=_SECONDS,
)
RECORDS_SENT: Final = Counter("goldenpath_modelserver_sent_records", "Records that Kafka has acknowledged.")
RECORDS_DROPPED: Final = Counter(
    "goldenpath_modelserver_dropped_records", "Records dropped: the buffer was full, or there was no Kafka."
)
BATCHES_SENT: Final = Counter("goldenpath_modelserver_sent_batches", "Batches of records that Kafka has acknowledged.")

SPANS: Final = {
    "infer MODEL": "One inference request; its parent is the caller's span, where the caller has a sampled trace.",
    "record MODEL": "A batch of records is sent; linked to the infer spans of its records.",
}

ATTRIBUTES: Final = {
    "goldenpath.model": Attribute("span", "text", "The model that is served."),
    "goldenpath.version": Attribute("span", "version", "The version that is served, from 1."),
    "goldenpath.epoch": Attribute("span", "epoch", "The deployment's epoch, as the router stamped it."),
    "goldenpath.arm": Attribute("span", "text", "stable, candidate or shadow, as the router stamped it."),
    "goldenpath.rows": Attribute("span", "rows", "How many rows were predicted."),
    "grpc_port": Attribute("log", "port", "Where gRPC listens."),
    "http_port": Attribute("log", "port", "Where HTTP listens."),
    "model": Attribute("log", "text", "The model that is served."),
    "reason": Attribute("log", "text", "Why, as the error says it."),
    "records": Attribute("log", "records", "How many records it is about."),
    "request": Attribute("log", "text", "The request's id."),
    "view": Attribute("log", "text", "The feature view."),
    "version": Attribute("log", "version", "The version that is served, from 1."),
}
