"""The monitor, put together: settings, parts, and the order in which they start."""

from __future__ import annotations

from functools import partial
from importlib.resources import files

from goldenpath.monitor.v1.monitor_service_pb2_grpc import add_MonitorServiceServicer_to_server
from services.chassis import logging, operations, telemetry
from services.chassis.clock import Clock, SystemClock
from services.chassis.database import Database
from services.chassis.grpc_client import Sibling, readiness_of, token_from
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer, create_app
from services.chassis.identity import TokenVerifier
from services.chassis.leases import Leases, on_time
from services.chassis.outbox import Relay
from services.chassis.runner import Background, Closing, Part, serve
from services.chassis.signatures import Signers
from services.chassis.topics import RECORDS, create_topics
from services.chassis.watching import Changes
from services.monitor import consumers, http_api, kserve_api, stream
from services.monitor.clients import Judges
from services.monitor.due_job import DueJob
from services.monitor.finding import Finder
from services.monitor.grpc_api import NAME, MonitorApi
from services.monitor.intake import Intake
from services.monitor.kserve_api import RecordsWriter
from services.monitor.proof_job import ProofJob
from services.monitor.settings import MonitorSettings
from services.monitor.signal_store import SIGNALS
from services.monitor.store import MonitorUnitOfWork


async def run() -> int:
    """Run the monitor until it is told to stop; the process's exit status."""
    settings = MonitorSettings.read()
    logging.configure("monitor", as_json=settings.log_json)
    telemetry.configure("monitor", traces_folder=settings.traces_folder)
    await create_topics(settings.kafka)
    return await serve(parts_of(settings))


def parts_of(
    settings: MonitorSettings,
    *,
    consumer_name: str = consumers.NAME,
    stream_name: str = stream.NAME,
    records_topic: str = RECORDS.name,
) -> list[Part]:
    """Everything that makes up the service, in the order in which it starts."""
    clock = SystemClock()
    database = database_of(settings, clock)
    leases = Leases(database, duration=settings.lease_duration)
    token = token_from(settings.token_path)
    registry = Sibling("registry", settings.registry_address, token=token, ca_path=settings.grpc_ca_path)
    judges = Judges(database, registry, clock)
    verifier = TokenVerifier(settings.jwks_path, issuer=settings.token_issuer, audience=settings.token_audience)

    relay = Relay(database, leases, kafka=settings.kafka)
    consumer = consumers.consumer_of(
        database,
        kafka=settings.kafka,
        session_timeout=settings.consumer_session_timeout,
        signers=Signers(settings.signers_path),
        name=consumer_name,
    )
    intake = Intake(
        stream_name,
        records_topic,
        database,
        judges,
        kept=settings.kept_records,
        open_records=settings.open_records,
    )
    due = DueJob(database, leases, judges)
    proof = ProofJob(database, leases, registry, settings.features_store)
    records = stream.RecordStream(
        intake,
        kafka=settings.kafka,
        topic=records_topic,
        group=stream_name,
        session_timeout=settings.consumer_session_timeout,
    )
    changes = Changes(database, SIGNALS)
    api = MonitorApi(database, judges, changes, Finder(settings.kafka, records_topic))
    grpc = GrpcServer(
        settings.grpc_address,
        [(NAME, lambda server: add_MonitorServiceServicer_to_server(api, server))],
        verifier=verifier,
        drain=settings.drain,
        deadline=settings.request_deadline,
        certificate=settings.grpc_certificate,
    )
    checks = {"database": database.ready, "kafka": consumer.ready, "records": records.ready}
    lesser = {
        "clock": on_time(database, clock),
        "outbox": relay.ready,
        "events": consumer.flowing,
        "outcomes": due.ready,
        **readiness_of([registry]),
    }
    http = create_app("monitor", verifier=verifier, checks=checks, lesser=lesser, deadline=settings.request_deadline)
    http.include_router(http_api.router(database, judges))
    writer = RecordsWriter(settings.kafka, records_topic)
    http.include_router(kserve_api.router(writer, clock))
    http.include_router(operations.router(database, consumer))
    return [
        database,
        Closing(registry.close),
        Closing(writer.close),
        Background("relay", relay.run),
        Background("consumer", consumer.run),
        Background("records", records.run),
        Background("changes", changes.run),
        Background("due", due.run),
        Background("proof", proof.run),
        grpc,
        HttpServer(http, settings.http_address, drain=settings.drain),
    ]


def database_of(settings: MonitorSettings, clock: Clock) -> Database[MonitorUnitOfWork]:
    """The monitor's database."""
    return Database(
        settings.database_dsn.get_secret_value(),
        source="goldenpath/monitor",
        clock=clock,
        unit_of_work=partial(MonitorUnitOfWork, kept_outcomes=settings.kept_outcomes),
        migrations=files("services.monitor") / "migrations",
        connections=settings.database_connections,
    )
