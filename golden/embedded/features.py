"""A feature store for a laptop: a database of the platform's PostgreSQL, and the process that fills it from the stream.

It is there where a project reads features: `golden up --features FOLDER` names the repository, whose views are applied
whenever the pusher starts. To name it again starts the pusher again, with what changed in them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import yaml

from golden.embedded.files import write_private
from golden.embedded.ports import Ports
from golden.embedded.processes import Running, start, wait_until
from golden.embedded.services import Folders, environment_of, is_ready
from golden.embedded.tokens import DevelopmentIdentity

NAME: Final = "pusher"
DATABASE: Final = "features"
READER: Final = "features_reader"
_READY_WITHIN: Final = timedelta(seconds=120)  # Feast takes seconds to import, and many times that on a busy machine


@dataclass(frozen=True)
class FeaturePusher:
    """The pusher of this platform, and the store that it fills.

    Args:
        repo: The feature repository's folder.
        ports: Where everything listens.
        folders: Where everything is kept.
        dsn: The store's database, as its owner.
        reader_dsn: The same as a role that can only read.
    """

    repo: str
    ports: Ports
    folders: Folders
    dsn: str
    reader_dsn: str

    def launch(self, identity: DevelopmentIdentity) -> Running:
        """Start it, without waiting for it."""
        return start(
            [sys.executable, "-m", "services.pusher"],
            log=self.folders.logs / f"{NAME}.log",
            environment=self.environment(identity),
            cwd=self.folders.home,
        )

    def environment(self, identity: DevelopmentIdentity) -> dict[str, str]:
        """What it is told, with the store's settings in their files."""
        write_private(self.folders.feature_store, yaml.safe_dump(self.settings(self.dsn)))
        write_private(self.folders.feature_reader, yaml.safe_dump(self.settings(self.reader_dsn)))
        told = {
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{self.ports.kafka}",
            "DATABASE_DSN": self.dsn,
            "FEATURES_STORE": str(self.folders.feature_store),
            "FEATURES_REPO": self.repo,
            "HTTP_ADDRESS": f"127.0.0.1:{self.ports.pusher_http}",
            "JWKS_PATH": str(identity.jwks_path),
            "TRACES_FOLDER": str(self.folders.traces),
        }
        return environment_of(told)

    def settings(self, dsn: str) -> dict[str, Any]:
        """What a feature_store.yaml says."""
        found = urlsplit(dsn)
        database = {
            "host": found.hostname,
            "port": found.port,
            "database": found.path.removeprefix("/"),
            "user": found.username,
            "password": unquote(found.password or ""),
            "db_schema": "public",
            "sslmode": "disable",  # it listens on loopback only
        }
        return {
            "project": "goldenpath",
            "provider": "local",
            # Definitions change when the pusher starts; whoever reads them keeps what there was at its own start.
            "registry": {"path": str(self.folders.features / "registry.db"), "cache_ttl_seconds": 0},
            "online_store": {"type": "services.features.online_store.GuardedPostgreSQLOnlineStore", **database},
            "offline_store": {"type": "postgres", **database},
            "entity_key_serialization_version": 3,
        }

    def wait(self, running: Running) -> None:
        """Wait until it says that it is ready."""
        wait_until(self.ready, running, within=_READY_WITHIN, what="the pusher")

    def ready(self) -> bool:
        """Whether it and what it depends on are there."""
        return is_ready(self.ports.pusher_http)
