"""Governance, put together: settings, parts, and the order in which they start."""

from __future__ import annotations

from importlib.resources import files

from goldenpath.governance.v1.governance_service_pb2_grpc import add_GovernanceServiceServicer_to_server
from services.chassis import logging, operations, telemetry
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.grpc_client import Sibling, readiness_of, token_from
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer, create_app
from services.chassis.identity import TokenVerifier
from services.chassis.leases import Leases, on_time
from services.chassis.outbox import Relay
from services.chassis.runner import Background, Closing, Part, serve
from services.chassis.topics import create_topics
from services.chassis.watching import Changes
from services.governance import consumers, handlers, http_api
from services.governance.case_store import VERDICTS
from services.governance.clients import RegistryFacts
from services.governance.grpc_api import NAME, GovernanceApi
from services.governance.jobs import LogWriter, LookAgain
from services.governance.settings import GovernanceSettings
from services.governance.store import GovernanceUnitOfWork


async def run() -> int:
    """Run governance until it is told to stop; the process's exit status."""
    settings = GovernanceSettings.read()
    logging.configure("governance", as_json=settings.log_json)
    telemetry.configure("governance", traces_folder=settings.traces_folder)
    await create_topics(settings.kafka)
    return await serve(parts_of(settings))


def parts_of(settings: GovernanceSettings, *, consumer_name: str = consumers.NAME) -> list[Part]:
    """Everything that makes up the service, in the order in which it starts."""
    clock = SystemClock()
    database = database_of(settings)
    leases = Leases(database, duration=settings.lease_duration)
    token = token_from(settings.token_path)
    sibling = Sibling("registry", settings.registry_address, token=token, ca_path=settings.grpc_ca_path)
    registry = RegistryFacts(sibling)
    verifier = TokenVerifier(settings.jwks_path, issuer=settings.token_issuer, audience=settings.token_audience)

    relay = Relay(database, leases, kafka=settings.kafka)
    consumer = consumers.consumer_of(
        database,
        registry,
        kafka=settings.kafka,
        session_timeout=settings.consumer_session_timeout,
        name=consumer_name,
    )
    look_again = LookAgain(database, leases, registry, every=settings.look_again_every)
    log_writer = LogWriter(database, leases, kafka=settings.kafka, clock=clock)
    changes = Changes(database, VERDICTS)
    api = GovernanceApi(database, registry, clock, changes)
    grpc = GrpcServer(
        settings.grpc_address,
        [(NAME, lambda server: add_GovernanceServiceServicer_to_server(api, server))],
        verifier=verifier,
        drain=settings.drain,
        deadline=settings.request_deadline,
        certificate=settings.grpc_certificate,
    )
    checks = {"database": database.ready, "kafka": consumer.ready}
    lesser = {
        "clock": on_time(database, clock),
        "outbox": relay.ready,
        "events": consumer.flowing,
        **readiness_of([sibling]),
    }
    http = create_app("governance", verifier=verifier, checks=checks, lesser=lesser, deadline=settings.request_deadline)
    http.include_router(http_api.router(database, clock))
    http.include_router(operations.router(database, consumer))
    return [
        database,
        ShippedPolicies(database),
        Closing(sibling.close),
        Background("relay", relay.run),
        Background("consumer", consumer.run),
        Background("look again", look_again.run),
        Background("log", log_writer.run),
        Background("changes", changes.run),
        grpc,
        HttpServer(http, settings.http_address, drain=settings.drain),
    ]


def database_of(settings: GovernanceSettings) -> Database[GovernanceUnitOfWork]:
    """Governance's database."""
    return Database(
        settings.database_dsn.get_secret_value(),
        source="goldenpath/governance",
        clock=SystemClock(),
        unit_of_work=GovernanceUnitOfWork,
        migrations=files("services.governance") / "migrations",
        connections=settings.database_connections,
    )


class ShippedPolicies:
    """Puts the shipped policies in place at the start.

    Args:
        database: Governance's database.
    """

    def __init__(self, database: Database[GovernanceUnitOfWork]) -> None:
        self._database = database

    async def start(self) -> None:
        """Apply those that nobody has replaced."""
        shipped = (files("services.governance") / "policies").iterdir()
        for file in sorted(shipped, key=lambda entry: entry.name):
            async with self._database.begin(actor=handlers.SHIPPED) as uow:
                await handlers.ship_policy(file.read_text(), uow)

    async def stop(self) -> None:
        """Nothing to end."""
