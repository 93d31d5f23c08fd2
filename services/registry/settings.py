"""What the registry is told from outside, besides what every service is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from services.chassis.settings import ServiceSettings


class RegistrySettings(ServiceSettings):
    """The registry's settings."""

    artifact_store: Path
    """The artifact store's folder, shared by all replicas and, read-only, by the model servers."""

    mlflow_tracking_uri: SecretStr
    """Where MLflow keeps its runs: a database URI (no server needed) or a server's address. It may hold a password."""

    mlflow_timeout: timedelta = timedelta(minutes=5)
    """How long bringing a run's files in may take. A gigabyte from an object store takes about a minute."""

    mlflow_idle: timedelta = timedelta(minutes=1)
    """How long the process that reads runs stays after its last one. It costs 5 s to start, and 220 MiB while there."""
