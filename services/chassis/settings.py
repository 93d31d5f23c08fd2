"""What every service is told from outside: environment variables that start with GOLDENPATH_.

Settings are read once, in a service's `app.py`, and passed down; nothing else looks at the environment.
No secret has a default, and a secret never shows in a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.errors import Invalid, Unavailable

Positive = Annotated[timedelta, Field(gt=timedelta())]
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


_DOOR_TIMEOUT_MS = 2000  # to be told why one isn't let in; a refusal comes at once


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Where Kafka is, and as whom one comes: every client of Kafka is made with it.

    Args:
        bootstrap: Kafka's bootstrap servers, host:port, separated by commas.
        protocol: Whether the connection is encrypted (SSL), and whether one says who one is (SASL).
        mechanism: How one says who one is.
        user: Who one is, with SASL.
        password: Their password.
        ca_path: The certificates that the brokers' are checked against; None: the system's.
    """

    bootstrap: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    user: str = ""
    password: SecretStr | None = None
    ca_path: Path | None = None

    def client(self) -> dict[str, Any]:
        """What a client of aiokafka is made with."""
        return {"bootstrap_servers": self.bootstrap, **self._door()}

    def _door(self) -> dict[str, Any]:
        from aiokafka.helpers import create_ssl_context

        made: dict[str, Any] = {"security_protocol": self.protocol}
        if "SSL" in self.protocol:
            made["ssl_context"] = create_ssl_context(cafile=str(self.ca_path) if self.ca_path else None)
        if "SASL" in self.protocol:
            secret = self.password.get_secret_value() if self.password else ""
            made |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": secret,
            }
        return made

    async def explained(self, error: Exception) -> Unavailable:
        """A client's error in words. A client that isn't let in only says that it got in nowhere: so we ask again."""
        from aiokafka.conn import create_conn
        from aiokafka.errors import KafkaError

        for address in self.bootstrap.split(",") if self.protocol != "PLAINTEXT" else ():
            host, _, port = address.strip().rpartition(":")
            try:
                connection = await create_conn(host, int(port), **self._door(), request_timeout_ms=_DOOR_TIMEOUT_MS)
            except (KafkaError, OSError) as refused:
                who = self.user or "anybody without a name"
                return Unavailable(
                    f"Kafka at {address} doesn't let {who} in: {refused}",
                    fix="check GOLDENPATH_KAFKA_USER, GOLDENPATH_KAFKA_PASSWORD and GOLDENPATH_KAFKA_PROTOCOL",
                )
            connection.close()
        return Unavailable(f"Kafka at {self.bootstrap} doesn't answer: {error}")


class Settings(BaseSettings):
    """The root of all settings: frozen, and read from GOLDENPATH_ variables."""

    model_config = SettingsConfigDict(env_prefix="GOLDENPATH_", frozen=True, extra="ignore")

    traces_folder: Path | None = None
    """Where spans are kept as JSON lines, one file per process. None: they are kept nowhere."""

    log_json: bool = False
    """True: a log line is JSON, for machines. False: it is for people."""

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Read the environment, but for what is given.

        Raises:
            Invalid: a variable is missing or wrong; the sentence names each.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise Invalid("; ".join(map(_sentence, error.errors())), fix="set these environment variables") from None


def _sentence(wrong: Any) -> str:
    name = "_".join(["GOLDENPATH", *map(str, wrong["loc"])]).upper()
    return f"{name}: {wrong['msg']}" if wrong["loc"] else str(wrong["msg"])


class KafkaSettings(Settings):
    """Where Kafka is, and as whom the process comes."""

    kafka_bootstrap: str
    """Kafka's bootstrap servers, host:port, separated by commas."""

    kafka_protocol: Protocol = "PLAINTEXT"
    """SASL_SSL in production: an encrypted connection on which a service says who it is. The default is a laptop's."""

    kafka_mechanism: Mechanism = "SCRAM-SHA-512"
    """How it says who it is: so that the broker needn't keep the password, nor see it."""

    kafka_user: str = ""
    """Who it is; only the owner of a topic may write it."""

    kafka_password: SecretStr | None = None
    """Its password."""

    kafka_ca_path: Path | None = None
    """The file of certificates that the brokers' are checked against. None: the system's."""

    @model_validator(mode="after")
    def _says_who_it_is(self) -> Self:
        if "SASL" in self.kafka_protocol and not (self.kafka_user and self.kafka_password):
            raise ValueError(f"{self.kafka_protocol} takes GOLDENPATH_KAFKA_USER and GOLDENPATH_KAFKA_PASSWORD")
        return self

    @property
    def kafka(self) -> KafkaAccess:
        """What every client of Kafka is made with."""
        return KafkaAccess(
            self.kafka_bootstrap,
            self.kafka_protocol,
            self.kafka_mechanism,
            self.kafka_user,
            self.kafka_password,
            self.kafka_ca_path,
        )


class ServiceSettings(KafkaSettings):
    """What the four services have in common."""

    database_dsn: SecretStr
    """The service's own PostgreSQL database, as its own role: postgresql://role:password@host:port/name. In production
    with ?sslmode=verify-full&sslrootcert=FILE behind it: an encrypted connection, to the server that is meant."""

    database_connections: int = Field(default=8, ge=2)
    """Connections at the most. Eight saturate an embedded PostgreSQL on two cores (1,359 commits a second)."""

    grpc_address: str
    """Where gRPC listens, host:port."""

    grpc_certificate_path: Path | None = None
    """The certificate chain that gRPC shows, PEM. None: connections aren't encrypted, as on a laptop."""

    grpc_key_path: Path | None = None
    """The certificate's private key, PEM."""

    grpc_ca_path: Path | None = None
    """The certificates that siblings' are checked against, PEM. None: siblings are asked without encryption."""

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

    signers_path: Path | None = None
    """The file of public keys that events' signatures are checked against: a JSON Web Key Set in which each key has the
    `sub` that it may speak for. Read again when it changes. None: an actor on others' topics is always a claim."""

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

    @property
    def grpc_certificate(self) -> tuple[Path, Path] | None:
        """The files of gRPC's certificate chain and of its key; None where it has none."""
        if self.grpc_certificate_path is None or self.grpc_key_path is None:
            return None
        return self.grpc_certificate_path, self.grpc_key_path

    @model_validator(mode="after")
    def _has_both_halves(self) -> Self:
        if (self.grpc_certificate_path is None) != (self.grpc_key_path is None):
            raise ValueError("GOLDENPATH_GRPC_CERTIFICATE_PATH and GOLDENPATH_GRPC_KEY_PATH go together")
        return self
