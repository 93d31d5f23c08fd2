"""The local data plane: an Envoy that reads its clusters and routes from two files.

Weights stand in the routes' file and never inline in the listener: inline, kept-alive connections went on reaching
the old version for 23 s after a switch; from the file, none did.

    add a version     clusters, wait until it is healthy, routes
    remove one        routes, confirm in config_dump, wait until no request is under way, clusters

Applying doesn't wait for a version to become healthy: the deployments that can switch do, the others keep their
routes as they are until the next round. So a candidate that is slow to start never delays another model's way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from services.chassis.clock import Clock
from services.chassis.errors import Conflict, Unavailable
from services.deployer.domain.deployment import Place
from services.deployer.domain.routing import Routing
from services.deployer.domain.traffic import Traffic
from services.deployer.router.envoy_admin import EnvoyAdmin
from services.deployer.router.envoy_config import (
    addresses_in,
    clusters_in,
    clusters_of,
    place_of,
    route_configuration,
    routes_of,
    version_of,
)
from services.deployer.router.envoy_files import CLUSTERS, ROUTES, DiscoveryFiles

_EFFECT_WITHIN: Final = timedelta(seconds=5)  # a rename is in effect within 10 ms; this is for a machine under load
_POLL: Final = timedelta(milliseconds=2)
_REFUSED_AFTER: Final = timedelta(milliseconds=200)  # by then a good file would be in effect
Rendered = dict[Place, list[dict[str, Any]]]


class EnvoyRouter:
    """An Envoy, by its folder and its administration interface.

    Args:
        folder: Where its discovery files are.
        admin: Its administration interface, host:port.
        clock: Measures how long a file takes to be in effect.
    """

    def __init__(self, folder: Path, *, admin: str, clock: Clock) -> None:
        self._files = DiscoveryFiles(folder)
        self._admin = EnvoyAdmin(admin)
        self._clock = clock
        self._refusals: int | None = None
        self._confirmed = ""

    async def apply(self, routing: Routing, *, token: int) -> frozenset[Place]:
        """Make it so; the places whose traffic goes as decided."""
        if self._refusals is None:
            self._refusals = await self._admin.refusals()
        self._add_clusters(routing, token)
        wanted, standing = routes_of(routing.routes), self._standing()
        served = await self._can_switch(wanted, standing)
        # A place that can't switch yet keeps what it has; one that isn't wanted any more goes.
        shown = {
            place: wanted[place] if place in served else standing[place]
            for place in wanted
            if place in served | standing.keys()
        }
        await self._write_routes(shown, token)
        return frozenset(served)

    async def prune(self, routing: Routing, *, token: int) -> bool:
        """Forget versions that the routing doesn't name, once no request is under way on them; True where one is."""
        wanted = {cluster["name"] for cluster in clusters_of(routing)} | clusters_in(
            route for routes in self._standing().values() for route in routes
        )
        present = self._files.read(CLUSTERS)
        leaving = {cluster["name"] for cluster in present} - wanted
        if not leaving:
            return False
        traffic = await self._admin.traffic()
        idle = {name for name in leaving if traffic.get(name, Traffic()).active == 0}
        if idle:
            self._replace(CLUSTERS, [cluster for cluster in present if cluster["name"] not in idle], token)
        return idle < leaving

    async def known(self) -> frozenset[str]:
        """The servers' addresses that Envoy may still send requests to: by its file, or by its own word."""
        return addresses_in(self._files.read(CLUSTERS)) | await self._admin.addresses()

    async def traffic(self) -> Mapping[tuple[Place, int], Traffic]:
        """What each version's requests came to, HTTP and gRPC together."""
        made: dict[tuple[Place, int], Traffic] = {}
        for name, traffic in (await self._admin.traffic()).items():
            version = version_of(name)
            made[version] = made.get(version, Traffic()).plus(traffic)
        return made

    async def ready(self) -> None:
        """Raises Unavailable while Envoy doesn't answer."""
        await self._admin.ready()

    async def close(self) -> None:
        """End the connection to its administration interface."""
        await self._admin.close()

    def _add_clusters(self, routing: Routing, token: int) -> None:
        wanted = {cluster["name"]: cluster for cluster in clusters_of(routing)}
        present = {cluster["name"]: cluster for cluster in self._files.read(CLUSTERS)}
        merged = present | wanted
        if merged != present:
            self._replace(CLUSTERS, [merged[name] for name in sorted(merged)], token)

    async def _can_switch(self, wanted: Rendered, standing: Rendered) -> set[Place]:
        """The places all of whose new clusters are healthy; those in use already needn't be asked about."""
        in_use = clusters_in(route for routes in standing.values() for route in routes)
        new = {place: clusters_in(routes) - in_use for place, routes in wanted.items()}
        if not any(new.values()):
            return set(wanted)
        healthy = await self._admin.healthy()
        return {place for place, clusters in new.items() if clusters <= healthy}

    async def _write_routes(self, routes: Rendered, token: int) -> None:
        version = self._replace(ROUTES, [route_configuration(routes)], token)
        await self._until_effective(version)

    async def _until_effective(self, version: str) -> None:
        if version == self._confirmed:
            return  # by its own word, and what it serves only another file changes
        started = self._clock.monotonic()
        while await self._admin.routes_version() != version:
            waited = timedelta(seconds=self._clock.monotonic() - started)
            if waited > _REFUSED_AFTER and await self._was_refused():
                raise Conflict("the proxy refuses the routes that were rendered; it goes on with the last good ones")
            if waited > _EFFECT_WITHIN:
                raise Unavailable("the proxy doesn't take up its new routes", where="envoy")
            await self._clock.sleep(_POLL)
        self._confirmed = version

    async def _was_refused(self) -> bool:
        before, self._refusals = self._refusals, await self._admin.refusals()
        return before is not None and self._refusals > before

    def _replace(self, name: str, resources: list[dict[str, Any]], token: int) -> str:
        return self._files.replace(name, resources, token=token)

    def _standing(self) -> Rendered:
        made: Rendered = {}
        for configuration in self._files.read(ROUTES):
            for host in configuration["virtual_hosts"]:
                for route in host["routes"]:
                    made.setdefault(place_of(route), []).append(route)
        return made
