"""Asking Envoy: which routes are in effect, what it refused, who is healthy, what each version's requests came to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx

from services.chassis.errors import Unavailable
from services.deployer.domain.traffic import Traffic
from services.deployer.router.envoy_config import ROUTES, address_of

_TIMEOUT_SECONDS: Final = 2.0  # it answers in 2 ms; more is a proxy that hangs
_COUNTERS: Final = ("upstream_rq_completed", "upstream_rq_5xx", "upstream_rq_rx_reset", "upstream_rq_timeout")
_ACTIVE: Final = "upstream_rq_active"
_LATENCY: Final = "upstream_rq_time"
_TRAFFIC: Final = rf"^cluster\.goldenpath/.*\.({'|'.join((*_COUNTERS, _ACTIVE, _LATENCY))})$"
_REFUSALS: Final = rf"^(cluster_manager\.cds|http\.ingress\.rds\.{ROUTES})\.update_(rejected|failure)$"
_CLUSTER: Final = re.compile(r"^cluster\.(goldenpath/.+?/\d+/(?:http|grpc))\.(\w+)$")


class EnvoyAdmin:
    """Envoy's administration interface, on loopback.

    Args:
        address: host:port.
    """

    def __init__(self, address: str) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://{address}", timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def close(self) -> None:
        """End the connection."""
        await self._client.aclose()

    async def routes_version(self) -> str:
        """The version of the routes in effect; empty before there are any."""
        found = await self._json("/config_dump", resource="dynamic_route_configs", mask="version_info")
        return next((str(one.get("version_info", "")) for one in found.get("configs", [])), "")

    async def refusals(self) -> int:
        """How many files Envoy has refused since it started: it goes on with the last good one."""
        found = await self._json("/stats", format="json", filter=_REFUSALS)
        return sum(int(stat.get("value", 0)) for stat in found["stats"])

    async def healthy(self) -> frozenset[str]:
        """The names of the clusters that have a healthy server; one that is warming up isn't among them."""
        found = await self._json("/clusters", format="json")
        return frozenset(
            str(cluster["name"])
            for cluster in found.get("cluster_statuses", [])
            if any(_healthy(host) for host in cluster.get("host_statuses", []))
        )

    async def addresses(self) -> frozenset[str]:
        """The servers' addresses, host:port, in the clusters that are in effect."""
        found = await self._json("/clusters", format="json")
        return frozenset(
            address_of(host)
            for cluster in found.get("cluster_statuses", [])
            for host in cluster.get("host_statuses", [])
        )

    async def traffic(self) -> dict[str, Traffic]:
        """What each cluster's requests came to, by the cluster's name."""
        found = await self._json("/stats", format="json", histogram_buckets="detailed", filter=_TRAFFIC)
        return traffic_of(found["stats"])

    async def ready(self) -> None:
        """Raises Unavailable while Envoy doesn't serve."""
        await self._get("/ready", {})

    async def _json(self, path: str, **query: str) -> Any:
        return (await self._get(path, query)).json()

    async def _get(self, path: str, query: Mapping[str, str]) -> httpx.Response:
        try:
            response = await self._client.get(path, params=dict(query))
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"the proxy doesn't answer: {type(error).__name__}", where="envoy") from None
        return response


def traffic_of(stats: Iterable[Mapping[str, Any]]) -> dict[str, Traffic]:
    """Traffic by cluster, from Envoy's statistics with detailed histograms.

    A failed request shows as a 5xx where Envoy could still answer in the server's place, and as a reset or time-out
    where the answer had begun; mostly it shows as both, so the larger count is taken.
    """
    numbers: dict[str, dict[str, int]] = {}
    latencies: dict[str, dict[float, int]] = {}
    for stat in stats:
        if "histograms" in stat:
            latencies = _latencies(stat["histograms"].get("details", []))
        elif place := _CLUSTER.match(stat["name"]):
            numbers.setdefault(place[1], {})[place[2]] = int(stat["value"])
    return {name: _traffic(found, latencies.get(name, {})) for name, found in numbers.items()}


def _traffic(found: Mapping[str, int], latencies: Mapping[float, int]) -> Traffic:
    requests, failed, resets, timeouts = (found.get(name, 0) for name in _COUNTERS)
    return Traffic(requests, min(max(failed, resets + timeouts), requests), latencies, found.get(_ACTIVE, 0))


def _latencies(details: Iterable[Mapping[str, Any]]) -> dict[str, dict[float, int]]:
    made: dict[str, dict[float, int]] = {}
    for one in details:
        place = _CLUSTER.match(one["name"])
        if place is not None:
            made[place[1]] = {
                float(bucket["lower_bound"]) + float(bucket["width"]): int(bucket["count"]) for bucket in one["totals"]
            }
    return made


def _healthy(host: Mapping[str, Any]) -> bool:
    status = host.get("health_status", {})
    return status.get("eds_health_status") == "HEALTHY" and not any(
        status.get(flag) for flag in ("failed_active_health_check", "pending_active_hc", "failed_active_degraded_check")
    )
