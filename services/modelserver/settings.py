"""What the deployer tells a model server when it starts one: environment variables that start with GOLDENPATH_."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from services.chassis.settings import KafkaSettings
from services.modelserver.route import Arm


class ModelServerSettings(KafkaSettings):
    """One version in one environment, where its bytes are, where to listen, where to tell."""

    artifacts_folder: Path
    """The artifact store: the folder that holds `artifacts/DIGEST`. It is only read."""

    artifact_digest: str
    """The bytes to serve: SHA-256, 64 hex digits. Anything else in the folder is refused."""

    environment_digest: str = ""
    """The digest of the version's requirements, 64 hex digits. Empty: only the packages are checked, not the
    digest."""

    model: str
    """The model's name, as requests and records name it."""

    version: int
    """The version's number, from 1."""

    features: str = ""
    """Which inputs are read from the feature store: the version's FeatureSettings, as JSON. Empty: none."""

    features_store: Path | None = None
    """The feature store's feature_store.yaml: where it is, and as whom we come. Needed where a version has features."""

    environment: str = "production"
    """The deployment's environment, as records name it."""

    arm: Arm | None = None
    """The arm of every record: `shadow` where the proxy can't stamp a mirrored copy as one. None: as each request's
    header says, which is right behind a router that stamps."""

    http_address: str = "127.0.0.1:8080"
    """Where HTTP listens, host:port; 8080 is what KServe expects of a runtime. Port 0 takes any free one."""

    grpc_address: str = "127.0.0.1:8081"
    """Where gRPC listens, host:port; 8081 is what KServe expects of a runtime. Port 0 takes any free one."""

    kafka_bootstrap: str = ""
    """Kafka's bootstrap servers, host:port, separated by commas. Empty: records are dropped, and counted."""

    record_buffer: int = 16_384
    """Records that may wait for Kafka, those being sent included; one more is dropped and counted. The
    default is five seconds at 3,200 requests a second, and about 50 MiB at thirty inputs."""

    record_flush: timedelta = timedelta(milliseconds=500)
    """How long a record may wait for company before its batch is closed. Half a second lets the monitor see
    trouble within seconds, and still makes batches of hundreds under load."""

    request_limit_bytes: int = 8 * 1024 * 1024
    """The largest request, in bytes: about 40,000 rows of twenty numbers in JSON. A larger one is refused."""

    trace_ratio: float = 0.05
    """The share of requests without a trace of their own that get one, 0 to 1. One in twenty costs under 1 %
    of the throughput and shows a typical request within seconds."""

    drain: timedelta = timedelta(seconds=10)
    """How long requests in flight, and then the last records, may take after SIGTERM: each has this long."""
