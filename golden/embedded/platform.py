"""The whole platform on a laptop: `up`, `attach`, `down`.

    up      PostgreSQL, Kafka and Envoy at once; databases; then the services, all at once
            what already runs stays, what died is started again, a service that is asked for later is added
    attach  the platform that an earlier `up` left running
    down    the services, the model servers (which outlive the deployer by design), Envoy, Kafka, PostgreSQL

Every process is in the state file before it is waited for, so an `up` that fails or is interrupted leaves nothing
that the next `up` or `down` doesn't know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from golden.embedded import state as states
from golden.embedded.envoy import EnvoyProxy
from golden.embedded.kafka import KafkaBroker
from golden.embedded.modelservers import stop_all
from golden.embedded.ports import Ports
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running, is_free, wait_until
from golden.embedded.services import SERVICES, Folders, ServiceProcess, addresses, tracking_uri
from golden.embedded.state import State
from golden.embedded.tokens import DevelopmentIdentity
from services.chassis.errors import Conflict, Invalid

if TYPE_CHECKING:
    from golden.connection import Endpoints

__all__ = ["Platform", "Ports", "attach", "attach_quietly", "default_home", "down", "up"]

type_of_say = Callable[[str], None]
