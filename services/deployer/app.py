"""The deployer, put together."""

from __future__ import annotations

from importlib.resources import files

from goldenpath.deployer.v1.deployer_service_pb2_grpc import add_DeployerServiceServicer_to_server
from services.chassis import logging, operations, telemetry
from services.chassis.clock import SystemClock
from services.chassis.database import Database
from services.chassis.grpc_client import Sibling, readiness_of, token_from
from services.chassis.grpc_server import GrpcServer
from services.chassis.http_server import HttpServer, create_app
from services.chassis.identity import TokenVerifier
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases, on_time
from services.chassis.outbox import Relay
from services.chassis.runner import Background, Closing, serve
from services.chassis.topics import create_topics
from services.chassis.watching import Changes
from services.deployer import consumers, http_api
from services.deployer.asking import Asking
from services.deployer.clients.servers import HttpServers
from services.deployer.clients.siblings import GovernanceClient, MonitorClient, RegistryClient
from services.deployer.grpc_api import DeployerApi
from services.deployer.jobs.decisions import DecisionsJob
from services.deployer.jobs.guard import GuardJob
from services.deployer.jobs.rollouts import RolloutsJob
from services.deployer.jobs.routing import RoutingJob
from services.deployer.jobs.servers import ServersJob
from services.deployer.router.envoy import EnvoyRouter
from services.deployer.runtimes.local import LocalRuntime, LocalSettings
from services.deployer.settings import DeployerSettings
from services.deployer.store import CHANNEL, DeployerUnitOfWork


async def run() -> int:
    """Run the deployer until it is told to stop."""
    settings = DeployerSettings.read()
    logging.configure("deployer", as_json=settings.log_json)
    telemetry.configure("deployer", traces_folder=settings.traces_folder)
    clock = SystemClock()
    await create_topics(settings.kafka)
    database = Database(
        settings.database_dsn.get_secret_value(),
        source="goldenpath/deployer",
        clock=clock,
        unit_of_work=DeployerUnitOfWork,
        migrations=files("services.deployer") / "migrations",
        connections=settings.database_connections,
    )
    leases = Leases(database, duration=settings.lease_duration)

    token = token_from(settings.token_path)
    siblings = {
        "governance": Sibling("governance", settings.governance_address, token=token, ca_path=settings.grpc_ca_path),
        "registry": Sibling("registry", settings.registry_address, token=token, ca_path=settings.grpc_ca_path),
        "monitor": Sibling("monitor", settings.monitor_address, token=token, ca_path=settings.grpc_ca_path),
    }
    governance, registry = GovernanceClient(siblings["governance"]), RegistryClient(siblings["registry"])
    monitor = MonitorClient(siblings["monitor"])
    servers = HttpServers()
    proxy = EnvoyRouter(settings.proxy_folder, admin=settings.proxy_admin, clock=clock)
    runtime = LocalRuntime(
        LocalSettings(
            settings.modelservers_folder,
            settings.artifacts_folder,
            settings.modelserver_kafka,
            settings.traces_folder,
            settings.features_store,
        )
    )
    routing = RoutingJob(database, leases, proxy, name=settings.proxy_name, clock=clock)
    tending = ServersJob(database, leases, runtime, proxy, clock=clock)
    moving = RolloutsJob(
        database,
        leases,
        proxy,
        governance=governance,
        registry=registry,
        monitor=monitor,
        servers=servers,
        clock=clock,
    )
    deciding = DecisionsJob(database, leases, monitor=monitor, servers=servers, clock=clock)
    guarding = GuardJob(database, leases, proxy, clock=clock)
    consumer = Consumer(
        "deployer",
        consumers.TOPICS,
        database=database,
        kafka=settings.kafka,
        session_timeout=settings.consumer_session_timeout,
    )
    consumers.subscribe(consumer)
    relay = Relay(database, leases, kafka=settings.kafka)
    changes = Changes(database, CHANNEL)

    verifier = TokenVerifier(settings.jwks_path, issuer=settings.token_issuer, audience=settings.token_audience)
    asking = Asking(database, servers, changes)
    api = DeployerApi(
        database, governance=governance, registry=registry, asking=asking, changes=changes, url=settings.proxy_url
    )
    grpc = GrpcServer(
        settings.grpc_address,
        [("goldenpath.deployer.v1.DeployerService", lambda server: add_DeployerServiceServicer_to_server(api, server))],
        verifier=verifier,
        drain=settings.drain,
        deadline=settings.request_deadline,
        certificate=settings.grpc_certificate,
    )
    checks = {"database": database.ready, "kafka": consumer.ready, "proxy": proxy.ready}
    lesser = {
        "clock": on_time(database, clock),
        "outbox": relay.ready,
        "events": consumer.flowing,
        **readiness_of(siblings.values()),
    }
    app = create_app("deployer", verifier=verifier, checks=checks, lesser=lesser, deadline=settings.request_deadline)
    app.include_router(http_api.router(database, url=settings.proxy_url))
    app.include_router(operations.router(database, consumer))
    http = HttpServer(app, settings.http_address, drain=settings.drain)

    return await serve(
        [
            database,
            *[Closing(sibling.close) for sibling in siblings.values()],
            Closing(servers.close),
            Closing(proxy.close),
            Closing(runtime.close),
            Background("relay", relay.run),
            Background("changes", changes.run),
            Background("routing", routing.run),
            Background("servers", tending.run),
            Background("rollouts", moving.run),
            Background("decisions", deciding.run),
            Background("guard", guarding.run),
            Background("consumer", consumer.run),
            grpc,
            http,
        ]
    )
