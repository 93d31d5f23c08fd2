"""The registry, put together: settings, parts, and the order in which they start."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib.resources import files
from typing import Final

import structlog

from goldenpath.registry.v1 import registry_service_pb2_grpc as pb_grpc
from services.chassis import logging, operations, telemetry
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.grpc_client import Sibling, readiness_of, token_from
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer, create_app
from services.chassis.identity import TokenVerifier
from services.chassis.leases import Leases, on_time
from services.chassis.outbox import Relay
from services.chassis.runner import Background, Closing, serve
from services.chassis.signatures import Signers
from services.chassis.topics import create_topics
from services.chassis.watching import Changes
from services.registry import http_api
from services.registry.artifacts import ArtifactStore
from services.registry.clients.deployer import Deployments
from services.registry.clients.mlflow import MlflowRuns
from services.registry.commands import Commands
from services.registry.consumers import consumer_of
from services.registry.grpc_api import SERVICE, RegistryApi
from services.registry.queries import Queries
from services.registry.settings import RegistrySettings
from services.registry.store import CHANNEL, RegistryUnitOfWork

_SWEEP: Final = timedelta(hours=1)  # what a killed process leaves in staging costs only space


async def run() -> int:
    """Run the registry until it is told to stop; the process's exit status."""
    settings = RegistrySettings.read()
    logging.configure("registry", as_json=settings.log_json)
    telemetry.configure("registry", traces_folder=settings.traces_folder)

    database = database_of(settings.database_dsn.get_secret_value(), connections=settings.database_connections)
    artifacts = ArtifactStore(settings.artifact_store)
    runs = MlflowRuns(
        artifacts,
        tracking_uri=settings.mlflow_tracking_uri.get_secret_value(),
        timeout=settings.mlflow_timeout,
        idle=settings.mlflow_idle,
    )
    changes = Changes(database, CHANNEL)
    token = token_from(settings.token_path)
    deployer = Sibling("deployer", settings.deployer_address, token=token, ca_path=settings.grpc_ca_path)
    commands, queries = Commands(database, runs, Deployments(deployer)), Queries(database, changes)
    verifier = TokenVerifier(settings.jwks_path, issuer=settings.token_issuer, audience=settings.token_audience)
    relay = Relay(database, Leases(database, duration=settings.lease_duration), kafka=settings.kafka)
    consumer = consumer_of(
        database,
        runs,
        kafka=settings.kafka,
        session_timeout=settings.consumer_session_timeout,
        signers=Signers(settings.signers_path),
    )
    api = RegistryApi(commands, queries)
    grpc = GrpcServer(
        settings.grpc_address,
        [(SERVICE, lambda server: pb_grpc.add_RegistryServiceServicer_to_server(api, server))],
        verifier=verifier,
        drain=settings.drain,
        deadline=settings.request_deadline,
        certificate=settings.grpc_certificate,
    )
    checks = {"database": database.ready, "kafka": consumer.ready}
    lesser = {
        "clock": on_time(database, SystemClock()),
        "outbox": relay.ready,
        "events": consumer.flowing,
        **readiness_of([deployer]),
    }
    http = create_app("registry", verifier=verifier, checks=checks, lesser=lesser, deadline=settings.request_deadline)
    http.include_router(http_api.router(commands, queries))
    http.include_router(operations.router(database, consumer))

    await create_topics(settings.kafka)
    return await serve(
        [
            database,
            Closing(runs.stop),
            Closing(deployer.close),
            Background("relay", relay.run),
            Background("consumer", consumer.run),
            Background("changes", changes.run),
            Background("sweep", lambda: sweep(artifacts)),
            grpc,
            HttpServer(http, settings.http_address, drain=settings.drain),
        ]
    )


def database_of(dsn: str, *, connections: int = 8) -> Database[RegistryUnitOfWork]:
    """The registry's database."""
    return Database(
        dsn,
        source="goldenpath/registry",
        clock=SystemClock(),
        unit_of_work=RegistryUnitOfWork,
        migrations=files("services.registry") / "migrations",
        connections=connections,
    )


async def sweep(artifacts: ArtifactStore) -> None:
    """Take away what killed processes left in the store, now and then."""
    while True:
        swept = await asyncio.to_thread(artifacts.sweep)
        if swept:
            structlog.get_logger().info("swept the staging area", folders=swept)
        await asyncio.sleep(_SWEEP.total_seconds())
