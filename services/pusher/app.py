"""The pusher, put together: settings, parts, and the order in which they start."""

from __future__ import annotations

import asyncio

from services.chassis import logging, operations, telemetry
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.http_server import HttpServer, create_app
from services.chassis.identity import TokenVerifier
from services.chassis.leases import Leases, on_time
from services.chassis.outbox import Relay
from services.chassis.runner import Background, Closing, Part, serve
from services.chassis.signatures import Signers
from services.chassis.topics import create_topics
from services.features import history_store
from services.features.writer import Writer
from services.pusher.consumers import NAME, Pushing, consumer_of
from services.pusher.settings import PusherSettings
from services.pusher.store import PusherUnitOfWork


async def run() -> int:
    """Run the pusher until it is told to stop; the process's exit status."""
    settings = PusherSettings.read()
    logging.configure("pusher", as_json=settings.log_json)
    telemetry.configure("pusher", traces_folder=settings.traces_folder)
    await create_topics(settings.kafka)
    writer = await asyncio.to_thread(Writer, settings.features_store, settings.features_repo)
    return await serve(parts_of(settings, writer))


def parts_of(settings: PusherSettings, writer: Writer, *, consumer_name: str = NAME) -> list[Part]:
    """Everything that makes up the service, in the order in which it starts."""
    database = database_of(settings)
    verifier = TokenVerifier(settings.jwks_path, issuer=settings.token_issuer, audience=settings.token_audience)
    consumer = consumer_of(
        database,
        Pushing(writer.shapes, writer),
        kafka=settings.kafka,
        session_timeout=settings.consumer_session_timeout,
        signers=Signers(settings.signers_path),
        name=consumer_name,
    )
    relay = Relay(database, Leases(database, duration=settings.lease_duration), kafka=settings.kafka)
    checks = {"database": database.ready, "kafka": consumer.ready}
    lesser = {"clock": on_time(database, SystemClock()), "outbox": relay.ready, "events": consumer.flowing}
    http = create_app("pusher", verifier=verifier, checks=checks, lesser=lesser)
    http.include_router(operations.router(database, consumer))
    return [
        database,
        _Histories(database, writer),
        Closing(writer.close),
        Background("relay", relay.run),
        Background("consumer", consumer.run),
        HttpServer(http, settings.http_address, drain=settings.drain),
    ]


class _Histories:
    """The views' tables, made before anything is told."""

    def __init__(self, database: Database[PusherUnitOfWork], writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def start(self) -> None:
        """Make the tables, and the columns that they lack."""
        async with self._database.begin() as uow:
            for shape in self._writer.shapes.values():
                await history_store.prepare(uow.connection, shape)

    async def stop(self) -> None:
        """Nothing is held."""


def database_of(settings: PusherSettings) -> Database[PusherUnitOfWork]:
    """The pusher's database."""
    return Database(
        settings.database_dsn.get_secret_value(),
        source="goldenpath/pusher",
        clock=SystemClock(),
        unit_of_work=PusherUnitOfWork,
        connections=settings.database_connections,
    )
