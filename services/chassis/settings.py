"""What every service is told from outside: environment variables that start with GOLDENPATH_.

Settings are read once, in a service's `app.py`, and passed down; nothing else looks at the environment.
No secret has a default, and a secret never shows in a log.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.errors import Invalid

Positive = Annotated[timedelta, Field(gt=timedelta())]


class Settings(BaseSettings):
    """The root of all settings: frozen, and read from GOLDENPATH_ variables."""

    model_config = SettingsConfigDict(env_prefix="GOLDENPATH_", frozen=True, extra="ignore")

    traces_folder: Path | None = None
    """Where spans are kept as JSON lines, one file per process. None: they are kept nowhere."""

    log_json: bool = False
    """True: a log line is JSON, for machines. False: it is for people."""

    @classmethod
    def read(cls) -> Self:
        """Read the environment.

        Raises:
            Invalid: a variable is missing or wrong; the sentence names each.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = [f"GOLDENPATH_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
            raise Invalid("; ".join(wrong), fix="set these environment variables") from None


class ServiceSettings(Settings):
    """What the four services have in common."""

    database_dsn: SecretStr
    """The service's own PostgreSQL database, as its own role: postgresql://role:password@host:port/name."""

    database_connections: int = Field(default=8, ge=2)
    """Connections at the most. Eight saturate an embedded PostgreSQL on two cores (1,359 commits a second)."""

    kafka_bootstrap: str
    """Kafka's bootstrap servers, host:port, separated by commas."""

    grpc_address: str
    """Where gRPC listens, host:port."""

    http_address: str
    """Where HTTP listens, host:port."""

    registry_address: str = ""
    """The registry's gRPC address, host:port. Empty: this installation has none."""

    governance_address: str = ""
    """Governance's gRPC address, host:port. Empty: this installation has none."""

    deployer_address: str = ""
    """The deployer's gRPC address, host:port. Empty: this installation has none."""

    monitor_address: str = ""
    """The monitor's gRPC address, host:port. Empty: this installation has none."""

    jwks_path: Path
    """The file of public keys that tokens are checked against (a JSON Web Key Set). Read again when it changes."""

    token_issuer: str = "https://goldenpath.local/dev"  # noqa: S105 - a name, no secret
    """The issuer that a token must name. The default is what embedded mode issues."""

    token_audience: str = "goldenpath"  # noqa: S105 - a name, no secret
    """The audience that a token must name."""

    token_path: Path | None = None
    """The file with this service's own token, for asking its siblings. Read at every call, so it may be renewed."""

    lease_duration: Positive = timedelta(seconds=5)
    """How long a lease outlives its holder: the longest that a killed replica's work stands still."""

    consumer_session_timeout: Positive = timedelta(seconds=10)
    """How long Kafka waits for a silent consumer before its partitions go to another: the client's own default."""

    request_deadline: Positive = timedelta(seconds=30)
    """How long a request may take whose client doesn't say how long it waits: longer than any question takes."""

    drain: timedelta = timedelta(seconds=10)
    """How long requests in flight may take to finish after SIGTERM."""
