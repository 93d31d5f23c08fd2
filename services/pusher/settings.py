"""What the pusher is told from outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from services.chassis.settings import KafkaSettings, Positive


class PusherSettings(KafkaSettings):
    """Where the stream, the store and the histories are."""

    database_dsn: SecretStr
    """The PostgreSQL database of the histories, as a role that may create tables in it: the one that the store's
    offline_store names."""

    database_connections: int = 4
    """Connections at the most. The consumer and the relay write; the others are for those who ask how it is."""

    features_store: Path
    """The feature store's feature_store.yaml."""

    features_repo: Path | None = None
    """The feature repository, which is applied at the start. None: it was applied by other means."""

    http_address: str
    """Where HTTP listens, host:port."""

    jwks_path: Path
    """The file of public keys that tokens are checked against (a JSON Web Key Set)."""

    token_issuer: str = "https://goldenpath.local/dev"  # noqa: S105 - a name, no secret
    """The issuer that a token must name. The default is what embedded mode issues."""

    token_audience: str = "goldenpath"  # noqa: S105 - a name, no secret
    """The audience that a token must name."""

    signers_path: Path | None = None
    """The file of public keys that events' signatures are checked against. None: an actor is always a claim."""

    consumer_session_timeout: timedelta = timedelta(seconds=10)
    """How long Kafka waits for a silent consumer before its partitions go to another."""

    lease_duration: Positive = timedelta(seconds=5)
    """After how long a silent replica's dead letters are sent by another. Long pauses of a healthy process last about a
    second."""

    drain: timedelta = timedelta(seconds=10)
    """How long requests in flight may take to finish after SIGTERM."""
