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
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from golden.embedded import modelservers
from golden.embedded import state as states
from golden.embedded.envoy import EnvoyProxy
from golden.embedded.kafka import KafkaBroker
from golden.embedded.ports import Ports
from golden.embedded.postgres import PostgresServer
from golden.embedded.processes import Running, is_free, stop_together, wait_until
from golden.embedded.services import SERVICES, Folders, ServiceProcess, addresses, tracking_uri
from golden.embedded.state import State
from golden.embedded.tokens import DevelopmentIdentity
from services.chassis.errors import Conflict, Invalid

if TYPE_CHECKING:
    from golden.connection import Endpoints

__all__ = ["Platform", "Ports", "attach", "attach_quietly", "default_home", "down", "up"]

Say = Callable[[str], None]

_MLFLOW: Final = "mlflow"
_SERVICE_GRACE: Final = timedelta(seconds=20)  # requests in flight have ten, then connections close
_PART_GRACE: Final = timedelta(seconds=10)
_PROXY_WITHIN: Final = timedelta(seconds=20)
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

        ports, services = self.state.ports, sorted(self.state.services, key=SERVICES.index)
        return Endpoints(
            grpc=addresses(ports, services),
            http={name: f"http://127.0.0.1:{ports.http(name)}" for name in services},
            gateway=f"http://127.0.0.1:{ports.envoy}",
            kafka=f"127.0.0.1:{ports.kafka}",
            traces=self.folders.traces,
            tracking=tracking_uri(_dsns(self.home, self.state)),
        )

    def token(self, subject: str, roles: Iterable[str], lifetime: timedelta = _TOKEN_LIFETIME) -> str:
        """A development token for somebody."""
        return DevelopmentIdentity(self.folders.identity).issue(subject, roles, lifetime)

    def stop(self, part: str) -> None:
        """Stop one part; the next `up` starts it again."""
        if part in self.state.parts:
            self.state.parts[part].stop(_SERVICE_GRACE)


def default_home() -> Path:
    """The folder of this person's platform: GOLDEN_HOME, or .goldenpath in their home."""
    return Path(os.environ.get("GOLDEN_HOME") or Path.home() / ".goldenpath").absolute()


def attach(home: Path) -> Platform | None:
    """The platform that an earlier `up` left running; None where nothing of it runs."""
    state = states.read(home)
    return Platform(home, state) if state is not None and state.anything_alive() else None


def attach_quietly() -> Platform | None:
    """The same for this person's usual platform."""
    return attach(default_home())


def up(home: Path, *, only: frozenset[str] | None, ports: Ports, say: Say) -> Platform:
    """Start the platform, or what is missing of it.

    Args:
        home: Its folder; made when absent.
        only: The services that are wanted; None: all of them.
        ports: Where it listens, unless it runs already.
        say: Told what is going on.

    Raises:
        Conflict: a port is taken, or another `up` or `down` is at work.
        Invalid: there is no such service.
        Unavailable: a part didn't start; with the last lines of its log.
    """
    unknown = (only or frozenset()) - set(SERVICES)
    if unknown:
        raise Invalid(f"there is no service {min(unknown)!r}", fix=f"one of {', '.join(SERVICES)}")
    with states.alone(home):
        starting = _Starting(home, _planned(home, only or frozenset(SERVICES), ports), say)
        starting.parts()
        starting.services()
        return Platform(home, starting.state)


def down(home: Path, *, wipe: bool) -> None:
    """Stop everything that runs, and with `wipe` forget everything that was kept."""
    with states.alone(home):
        state = states.read(home)
        folders = Folders(home)
        if state is not None:
            stop_together([state.parts[name] for name in SERVICES if state.alive(name)], _SERVICE_GRACE)
            modelservers.stop_all(folders.modelservers)
            _stop_parts(home, state)
            states.write(home, replace(state, parts={}))
        if wipe:
            for folder in folders.all():
                shutil.rmtree(folder, ignore_errors=True)
            states.forget(home)


def _stop_parts(home: Path, state: State) -> None:
    if state.alive("envoy"):
        state.parts["envoy"].stop(_PART_GRACE)
    if state.alive("kafka"):
        _kafka(home, state.ports).stop(state.parts["kafka"])
    _postgres(home, state.ports).stop()


def _planned(home: Path, wanted: frozenset[str], ports: Ports) -> State:
    """The state to reach: a platform that runs keeps its ports and services, and may get more."""
    before = states.read(home) or State()
    running = before.anything_alive()
    services = wanted | (before.services if running else frozenset())
    state = replace(before, ports=before.ports if running else ports, services=services)
    return state.with_passwords(services | {_MLFLOW})


class _Starting:
    """One `up`: what is alive already is left as it is."""

    def __init__(self, home: Path, state: State, say: Say) -> None:
        self._home = home
        self._folders = Folders(home)
        self._say = say
        self._before = states.read(home)
        for folder in self._folders.all():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state = states.write(home, state)

    def parts(self) -> None:
        """PostgreSQL, Kafka and Envoy at once, and then the databases."""
        self._refuse_taken_ports()
        postgres, kafka = _postgres(self._home, self.state.ports), _kafka(self._home, self.state.ports, self._say)
        envoy = EnvoyProxy(self._folders.envoy, port=self.state.ports.envoy, admin_port=self.state.ports.envoy_admin)
        self._say("PostgreSQL, Kafka and Envoy …")
        database = self._launch("postgres", postgres.launch)
        broker = self._launch("kafka", kafka.launch)
        proxy = self._launch("envoy", envoy.start)
        postgres.wait(database)
        for name, password in self.state.passwords.items():
            postgres.create_database(name, name, password)
        wait_until(envoy.ready, proxy, within=_PROXY_WITHIN, what="Envoy")
        kafka.wait(broker)

    def services(self) -> None:
        """The services, all at once; one that runs but doesn't know a new sibling starts again."""
        identity = DevelopmentIdentity(self._folders.identity)
        dsns = _dsns(self._home, self.state)
        wanted = [
            ServiceProcess(name, self.state.services, self.state.ports, self._folders, dsns)
            for name in sorted(self.state.services, key=SERVICES.index)
        ]
        self._stop_outdated()
        self._say(f"{', '.join(one.name for one in wanted)} …")
        launched = [(one, self._launch(one.name, lambda one=one: one.launch(identity))) for one in wanted]  # type: ignore[misc] # mypy can't infer a lambda with a default
        for one, running in launched:
            one.wait(running)

    def _stop_outdated(self) -> None:
        if self._before is not None and self._before.services != self.state.services:
            outdated = [self.state.parts[name] for name in SERVICES if self.state.alive(name)]
            stop_together(outdated, _SERVICE_GRACE)

    def _launch(self, part: str, launch: Callable[[], Running]) -> Running:
        if not self.state.alive(part):
            self.state = states.write(self._home, self.state.started(part, launch()))
        return self.state.parts[part]

    def _refuse_taken_ports(self) -> None:
        for field, port in asdict(self.state.ports).items():
            part = field.removesuffix("_admin").removesuffix("_controller").removesuffix("_http").removesuffix("_grpc")
            wanted = part not in SERVICES or part in self.state.services
            if wanted and not self.state.alive(part) and not is_free(port):
                raise Conflict(
                    f"port {port} is taken, and {part} wants it",
                    fix=f"end what uses it, or set GOLDEN_PORT_{field.upper()}",
                )


def _postgres(home: Path, ports: Ports) -> PostgresServer:
    return PostgresServer(Folders(home).postgres, port=ports.postgres)


def _kafka(home: Path, ports: Ports, say: Say = lambda _: None) -> KafkaBroker:
    return KafkaBroker(Folders(home).kafka, port=ports.kafka, controller_port=ports.kafka_controller, say=say)


def _dsns(home: Path, state: State) -> dict[str, str]:
    postgres = _postgres(home, state.ports)
    return {name: postgres.dsn(name, name, password) for name, password in state.passwords.items()}
