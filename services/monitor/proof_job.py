"""The job that holds served features against the feature store's history: one replica at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from goldenpath.registry.v1 import registry_service_pb2 as pb
from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from services.chassis.database import Database
from services.chassis.errors import GoldenpathError, NotFound, Unavailable
from services.chassis.grpc_client import Sibling
from services.chassis.leases import Lease, Leases
from services.monitor import proving
from services.monitor.domain.proof import SETTLED
from services.monitor.proving import Histories, Look
from services.monitor.store import MonitorUnitOfWork

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

_IDLE: Final = timedelta(seconds=5)
_AT_ONCE: Final = 20  # batches of a watch
Views = Mapping[str, tuple[Sequence[str], Sequence[str]]]
_log = structlog.get_logger()


class ProofJob:
    """Proves for ever.

    Args:
        database: Where kept batches and proofs are.
        leases: One monitor at a time proves.
        registry: Says which views give which inputs of a version.
        settings: The feature store's feature_store.yaml; None: there is none, and nothing to prove.
    """

    def __init__(
        self, database: Database[MonitorUnitOfWork], leases: Leases, registry: Sibling, settings: Path | None
    ) -> None:
        self._database = database
        self._leases = leases
        self._registry = registry
        self._settings = settings
        self._views: dict[tuple[str, int], Views] = {}

    async def run(self) -> None:
        """Prove for ever, whenever the lease is ours."""
        if self._settings is None:
            await asyncio.Event().wait()
        else:
            await self._leases.run("proof", partial(self._work, self._settings))

    async def _work(self, settings: Path, lease: Lease) -> None:
        history: Histories | None = None
        while True:
            try:
                history = history or await self._opened(settings)
                if await self.round(history, lease):
                    continue
            except GoldenpathError as error:
                _log.warning("served features can't be proven", reason=str(error))
            await asyncio.sleep(_IDLE.total_seconds())

    async def _opened(self, settings: Path) -> Histories:
        from services.features.history import History  # Feast costs seconds, so only where there is a store

        return await asyncio.to_thread(History, settings)

    async def round(self, history: Histories, lease: Lease) -> bool:
        """Look at some kept batches of each watch; False where there were none."""
        async with self._database.begin() as uow:
            watches = await uow.proofs.present()
        return any([await self._prove(watch, history, lease) for watch in watches])

    async def _prove(self, watch: int, history: Histories, lease: Lease) -> bool:
        async with self._database.begin() as uow:
            found = await uow.watches.get(watch)
            # What the pusher tells is in the history a while after it was served.
            batches = await uow.proofs.next(watch, uow.now - SETTLED, _AT_ONCE)
        if not batches:
            return False
        views = await self._views_of(found.model, found.version)
        try:
            seen = await proving.look(batches, views, history)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - these are a sample: what comes next is as good, and others go on
            _log.error("kept batches can't be proven", model=found.model, version=found.version, exc_info=error)
            seen = Look(batches[-1].upto, {})
        async with self._database.begin() as uow:
            await lease.check(uow.connection)
            await proving.keep(found, seen, uow)
        return True

    async def _views_of(self, model: str, version: int) -> Views:
        if (model, version) not in self._views:
            stub: RegistryServiceAsyncStub = RegistryServiceStub(self._registry.channel)
            asked = pb.GetVersionRequest(model=model, version=version)
            try:
                features = (await self._registry.ask(stub.GetVersion, asked)).version.features
            except NotFound:
                return {}
            self._views[model, version] = {view.name: (list(view.keys), list(view.inputs)) for view in features.views}
        return self._views[model, version]
