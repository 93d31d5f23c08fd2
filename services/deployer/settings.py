"""What the deployer is told from outside, besides what every service is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from services.chassis.settings import KafkaAccess, ServiceSettings


class DeployerSettings(ServiceSettings):
    """The proxy, the artifact store, and where model servers run."""

    proxy_folder: Path
    """The folder of the proxy's discovery files, cds.json and rds.json."""

    proxy_admin: str
    """The proxy's administration interface, host:port."""

    proxy_url: str
    """Where clients reach the models through the proxy, such as http://127.0.0.1:8080."""

    proxy_name: str = "embedded"
    """The proxy's name: one lease per proxy."""

    artifacts_folder: Path
    """The artifact store: the folder that holds `artifacts/DIGEST`. Model servers only read it."""

    modelservers_folder: Path
    """Where model servers' logs are written, and `<pid>.json` of each for whoever must end them all."""

    features_store: Path | None = None
    """The feature store's feature_store.yaml, which model servers are told of where their version has features. It
    should come as somebody who can only read."""

    modelserver_kafka_user: str = ""
    """As whom model servers write inference.records, where Kafka asks: not as the deployer, since a model is somebody's
    code."""

    modelserver_kafka_password: SecretStr | None = None
    """Their password."""

    @property
    def modelserver_kafka(self) -> KafkaAccess:
        """What model servers are told of Kafka."""
        return replace(self.kafka, user=self.modelserver_kafka_user, password=self.modelserver_kafka_password)
