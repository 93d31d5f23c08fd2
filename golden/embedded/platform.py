"""The whole platform on a laptop: `up`, `attach`, `down`.

    up      PostgreSQL, Kafka and Envoy at once; databases; then the services, all at once. What already runs stays,
            what died is started again, a service that is asked for later is added.
    attach  the platform that an earlier `up` left running
    down    the services, the model servers (which outlive the deployer by design), Envoy, Kafka, PostgreSQL

Every process is in the state file before it is waited for, so an `up` that fails or is interrupted leaves nothing
that the next `up` or `down` doesn't know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from golden.embedded import modelservers
from golden.embedded import state as states
from golden.embedded.features import NAME as PUSHER
from golden.embedded.parts import Parts
from golden.embedded.ports import Ports
from golden.embedded.services import SERVICES, Folders, addresses, tracking_uri
from golden.embedded.starting import SERVICE_GRACE, Starting
from golden.embedded.state import State
from golden.embedded.tokens import DevelopmentIdentity
from services.chassis.errors import Invalid

if TYPE_CHECKING:
    from golden.connection import Endpoints

__all__ = ["Platform", "Ports", "attach", "attach_quietly", "default_home", "down", "up"]

_PROXY_GRACE: Final = timedelta(seconds=10)  # Envoy ends at once
_TOKEN_LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Platform:
    """A platform of this machine.

    Args:
        home: Its folder.
        state: What runs, and where.
    """

    home: Path
    state: State

    @property
    def folders(self) -> Folders:
        """Where it keeps what it keeps."""
        return Folders(self.home)

    def endpoints(self) -> Endpoints:
        """Where clients reach it."""
        from golden.connection import Endpoints
        from services.chassis.settings import KafkaAccess

        ports, services = self.state.ports, sorted(self.state.services, key=SERVICES.index)
        http = {name: f"http://127.0.0.1:{ports.http(name)}" for name in services}
        if PUSHER in self.state.parts:
            http[PUSHER] = f"http://127.0.0.1:{ports.pusher_http}"
        return Endpoints(
            grpc=addresses(ports, services),
            http=http,
            gateway=f"http://127.0.0.1:{ports.envoy}",
            kafka=KafkaAccess(f"127.0.0.1:{ports.kafka}"),
            traces=self.folders.traces,
            tracking=tracking_uri(Parts(self.folders, self.state).dsns()),
            artifacts=self.folders.mlflow,
        )

    def token(self, subject: str, roles: Iterable[str], lifetime: timedelta = _TOKEN_LIFETIME) -> str:
        """A development token for somebody."""
        return DevelopmentIdentity(self.folders.identity).issue(subject, roles, lifetime)

    def stop(self, part: str) -> None:
        """Stop one part; the next `up` starts it again."""
        if part in self.state.parts:
            self.state.parts[part].stop(SERVICE_GRACE)


def default_home() -> Path:
    """The folder of this person's platform: GOLDEN_HOME, or .goldenpath in their home."""
    return Path(os.environ.get("GOLDEN_HOME") or Path.home() / ".goldenpath").expanduser().absolute()


def attach(home: Path) -> Platform | None:
    """The platform that an earlier `up` left running; None where nothing of it runs."""
    state = states.read(home)
    return Platform(home.absolute(), state) if state is not None and state.anything_alive() else None


def attach_quietly() -> Platform | None:
    """The same for this person's usual platform."""
    return attach(default_home())


def up(
    home: Path,
    *,
    only: frozenset[str] | None,
    ports: Ports,
    say: Callable[[str], None],
    features: Path | None = None,
) -> Platform:
    """Start the platform, or what is missing of it.

    Args:
        home: Its folder; made when absent.
        only: The services that are wanted; None: all of them. Those that run already stay.
        ports: Where it listens, unless it runs already.
        say: Told what is going on.
        features: The feature repository whose views are wanted from now on; None: as before, at first none.

    Raises:
        Conflict: a port is taken, or another `up` or `down` is at work.
        Invalid: there is no such service.
        Unavailable: a part didn't start; with the last lines of its log.
    """
    services = only or frozenset(SERVICES)
    if unknown := services - set(SERVICES):
        raise Invalid(f"there is no service {min(unknown)!r}", fix=f"one of {', '.join(SERVICES)}")
    home = home.absolute()
    with states.alone(home):
        left = states.read(home) or State()
        if left.anything_alive():
            ports, services = left.ports, services | left.services
        return Platform(home, Starting(Folders(home), left, say).run(services, ports, str(features or "")))


def down(home: Path, *, wipe: bool) -> None:
    """Stop everything that runs, and with `wipe` forget everything that was kept.

    Raises:
        Conflict: an `up` or another `down` is at work.
    """
    if not home.exists():
        return
    folders = Folders(home.absolute())
    with states.alone(home):
        state = states.read(home)
        if state is not None:
            _stop(folders, state)
        if wipe:
            for folder in folders.all():
                shutil.rmtree(folder, ignore_errors=True)
            states.forget(home)


def _stop(folders: Folders, state: State) -> None:
    Starting(folders, state, lambda _: None).stop_services()
    modelservers.stop_all(folders.modelservers)
    parts = Parts(folders, state)
    if "envoy" in state.parts:
        state.parts["envoy"].stop(_PROXY_GRACE)
    if "kafka" in state.parts:
        parts.kafka.stop(state.parts["kafka"])
    parts.postgres.stop()
    states.write(folders.home, state.all_stopped())
