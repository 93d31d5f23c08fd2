"""The composition root: reads the settings, loads the version, opens the ports, and closes everything in order.

A port opens only when the version's bytes were checked, its model is loaded, and its example was predicted. So whoever
can connect finds it warm, and a version that can't be served ends the process with a sentence that says why.

On SIGTERM: not ready; no new connections; requests in flight finish; the last records are sent; the process ends.
"""

from __future__ import annotations

import asyncio
import logging as library_logging
import signal

import structlog

from services.chassis import logging, telemetry
from services.chassis.clock import Clock, SystemClock
from services.chassis.errors import GoldenpathError, Invalid
from services.modelserver.batches import Packer
from services.modelserver.features import Features, settings_of
from services.modelserver.gathering import Gathering
from services.modelserver.grpc_api import GrpcApi, GrpcServer
from services.modelserver.http_api import HttpApi
from services.modelserver.http_server import HttpServer
from services.modelserver.inference import Inference, Served
from services.modelserver.kafka_sink import KafkaSink
from services.modelserver.loading import Loaded, load
from services.modelserver.predict import has_independent_rows, predictor_of
from services.modelserver.records import Buffer, Shipper, Sink
from services.modelserver.schema import schema_of
from services.modelserver.settings import ModelServerSettings

_FAILED = 1
_log = structlog.get_logger()


class ModelServer:
    """A model server whose version is loaded and warm, and whose ports are still closed.

    Args:
        settings: What it was told.
        loaded: The version.
        clock: Gives record times, and paces.
        sink: Where batches of records go.
    """

    def __init__(self, settings: ModelServerSettings, loaded: Loaded, *, clock: Clock, sink: Sink) -> None:
        if not loaded.example:
            _log.warning("the model has no input example, so its first prediction will be slow", model=settings.model)
        predictor = predictor_of(loaded.estimator, loaded.signature, loaded.example)
        self._features = features = _features_of(settings, loaded, clock)
        served = Served(
            settings.model,
            str(settings.version),
            loaded.platform,
            loaded.signature,
            predictor.outputs,
            settings.arm,
            features.asked if features else (),
        )
        columns, drain, limit = loaded.signature.columns, settings.drain, settings.request_limit_bytes
        packer = Packer(
            settings.model,
            settings.version,
            settings.environment,
            settings.artifact_digest,
            columns,
            keys=features.keys if features else (),
            views=features.views if features else (),
        )
        buffer = Buffer(settings.record_buffer if settings.kafka_bootstrap else 0)
        schema = schema_of(loaded.signature)
        gathering = Gathering(predictor) if has_independent_rows(loaded.estimator) else None
        ratio = settings.trace_ratio
        self.inference = Inference(
            served, schema, predictor, gathering, buffer, features=features, clock=clock, trace_ratio=ratio
        )
        self.shipper = Shipper(buffer, packer, sink, clock=clock, interval=settings.record_flush, drain=drain)
        self.http = HttpServer(
            HttpApi(self.inference, clock=clock, limit_bytes=limit), settings.http_address, drain=drain
        )
        self.grpc = GrpcServer(
            GrpcApi(self.inference, clock=clock), settings.grpc_address, drain=drain, limit_bytes=limit
        )

    async def start(self) -> None:
        """Open the ports.

        Raises:
            Unavailable: an address is taken.
        """
        await self.shipper.start()
        await self.grpc.start()
        await self.http.start()

    async def stop(self) -> None:
        """Close the ports, let requests in flight finish, and send their records."""
        self.inference.ready = False
        await asyncio.gather(self.http.stop(), self.grpc.stop())
        await self.shipper.stop()
        if self._features is not None:
            await self._features.close()


def _features_of(settings: ModelServerSettings, loaded: Loaded, clock: Clock) -> Features | None:
    if not settings.features:
        return None
    wanted = settings_of(settings.features)
    if settings.features_store is None:
        raise Invalid("the version reads features, and nobody said where the store is", where="features_store")
    from services.features.reader import Reader, Wanted  # Feast costs seconds, so only where a version needs it

    views = [
        Wanted(
            view.name,
            view.digest,
            tuple(view.inputs),
            tuple(view.keys),
            view.ttl.ToTimedelta() if view.HasField("ttl") else None,
        )
        for view in wanted.views
    ]
    reader = Reader(settings.features_store, views)
    for view in reader.changed():
        _log.warning("a feature view was changed since the version was registered", view=view, model=settings.model)
    features = Features(wanted, loaded.signature, reader, clock)
    features.warm()
    return features


async def run() -> int:
    """Serve until SIGTERM or SIGINT; the process's exit status."""
    settings = ModelServerSettings.read()
    logging.configure("modelserver", as_json=settings.log_json)
    library_logging.getLogger("aiokafka").setLevel(library_logging.CRITICAL)  # `records` tells once what it retries
    telemetry.configure("modelserver", traces_folder=settings.traces_folder)
    stopped = _signalled()
    try:
        loaded = load(settings.artifacts_folder, settings.artifact_digest, settings.environment_digest)
        server = ModelServer(settings, loaded, clock=SystemClock(), sink=KafkaSink(settings.kafka))
    except GoldenpathError as error:
        _log.error("can't serve", model=settings.model, version=settings.version, reason=str(error))
        return _FAILED
    return await _serve(server, stopped)


async def _serve(server: ModelServer, stopped: asyncio.Event) -> int:
    served = server.inference.served
    try:
        await server.start()
        _log.info(
            "ready", model=served.model, version=served.version, http_port=server.http.port, grpc_port=server.grpc.port
        )
        await stopped.wait()
    except GoldenpathError as error:
        _log.error("can't serve", model=served.model, version=served.version, reason=str(error))
        return _FAILED
    finally:
        await server.stop()
    _log.info("stopped", model=served.model, version=served.version)
    return 0


def _signalled() -> asyncio.Event:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    return told
