"""Envoy's view of a routing: clusters and routes as the filesystem's discovery files hold them. Pure.

A version has two clusters, since HTTP and gRPC listen on different ports. A request is stamped on its way with
who answered it and why, and what a client wrote into those headers is overwritten. The unit's header decides the
arm by hash, so that a unit stays with its version; without one, chance does.

A request is tried twice, the second time on a server that wasn't tried. An agent's only where it can't have been acted
on: no connection was made, or it broke before the request left. A model's also where the server died under it, since
predicting twice changes nothing. Never more often: a request that kills its servers must not be handed round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from services.deployer.domain.deployment import PRODUCTION, Place
from services.deployer.domain.routing import Address, Route, Routing, Share, Upstream

ROUTES: Final = "goldenpath"
_CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_ROUTES: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_HTTP_OPTIONS: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP_OPTIONS_KEY: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PREFIX: Final = "goldenpath"
_SHADOW: Final = "shadow"
# A model server closes idle connections after five seconds (uvicorn's default). The proxy must be first, or a request
# meets a connection that is just being closed.
_IDLE: Final = "3s"
_CONNECT: Final = "1s"
Json = dict[str, Any]


def cluster_name(place: Place, version: int, protocol: str) -> str:
    """The name of a version's cluster; `version_of` reads it."""
    return f"{_PREFIX}/{place.model}/{place.environment}/{version}/{protocol}"


def version_of(cluster: str) -> tuple[Place, int]:
    """Which version a cluster is of.

    >>> version_of("goldenpath/credit/production/2/http")
    (Place(model='credit', environment='production'), 2)
    """
    _, model, environment, version, _ = cluster.split("/")
    return Place(model, environment), int(version)


def clusters_of(routing: Routing) -> list[Json]:
    """The clusters of a routing, two per version."""
    return [_cluster(upstream, protocol) for upstream in routing.upstreams for protocol in ("http", "grpc")]


def routes_of(routes: Iterable[Route]) -> dict[Place, list[Json]]:
    """The routes of each deployment: one for HTTP by path, one for gRPC by header."""
    return {route.place: [_by_path(route), _by_header(route)] for route in routes}


def route_configuration(routes: Mapping[Place, Sequence[Json]]) -> Json:
    """The whole of the routes, for the discovery file."""
    ordered = [route for place in sorted(routes) for route in routes[place]]
    host = {"name": "models", "domains": ["*"], "routes": ordered}
    return {"@type": _ROUTES, "name": ROUTES, "virtual_hosts": [host]}


def place_of(route: Mapping[str, Any]) -> Place:
    """Which deployment a rendered route is of: it carries its place as its name."""
    model, _, environment = str(route["name"]).partition("/")
    return Place(model, environment)


def clusters_in(routes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all clusters that rendered routes send requests to, copies included."""
    named: set[str] = set()
    for route in routes:
        action = route["route"]
        named |= {str(cluster["name"]) for cluster in action["weighted_clusters"]["clusters"]}
        named |= {str(mirror["cluster"]) for mirror in action.get("request_mirror_policies", ())}
    return named


def addresses_in(clusters: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The addresses of all servers in rendered clusters, host:port."""
    return frozenset(
        address_of(endpoint["endpoint"])
        for cluster in clusters
        for group in cluster["load_assignment"]["endpoints"]
        for endpoint in group["lb_endpoints"]
    )


def address_of(host: Mapping[str, Any]) -> str:
    """A server's address as Envoy writes it, host:port."""
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def _cluster(upstream: Upstream, protocol: str) -> Json:
    name = cluster_name(upstream.place, upstream.version, protocol)
    groups = [group for group in (upstream.addresses, upstream.fallback) if group]
    return {
        "@type": _CLUSTER,
        "name": name,
        "type": "STATIC",
        "connect_timeout": _CONNECT,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"priority": priority, "lb_endpoints": [_endpoint(address, protocol) for address in group]}
                for priority, group in enumerate(groups)
            ],
        },
        # Slow to give up on a server, since a loaded machine answers late: three misses, two seconds apart.
        "health_checks": [
            {
                "timeout": "3s",
                "interval": "2s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "no_traffic_interval": "2s",
                "http_health_check": {"path": "/v2/health/ready", "codec_client_type": "HTTP1"},
            }
        ],
        "circuit_breakers": {"thresholds": [{"max_retries": 1024}]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS_KEY: _protocol_options(protocol)},
    }


def _protocol_options(protocol: str) -> Json:
    spoken: Json = {"http_protocol_options": {}} if protocol == "http" else {"http2_protocol_options": {}}
    return {
        "@type": _HTTP_OPTIONS,
        "common_http_protocol_options": {"idle_timeout": _IDLE},
        "explicit_http_config": spoken,
    }


def _endpoint(address: Address, protocol: str) -> Json:
    chosen = address.http if protocol == "http" else address.grpc
    return {
        "endpoint": {
            "address": _socket(chosen),
            "health_check_config": {"port_value": _port(address.http)},
        }
    }


def _socket(address: str) -> Json:
    host, _, _ = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": _port(address)}}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _by_path(route: Route) -> Json:
    match = {"path_separated_prefix": f"/v2/models/{route.place.model}", "headers": [_environment(route.place)]}
    return {"name": str(route.place), "match": match, "route": _action(route, "http")}


def _by_header(route: Route) -> Json:
    model = {"name": "x-goldenpath-model", "string_match": {"exact": route.place.model}}
    match = {"prefix": "/inference.GRPCInferenceService/", "headers": [model, _environment(route.place)]}
    return {"name": str(route.place), "match": match, "route": _action(route, "grpc")}


def _environment(place: Place) -> Json:
    """Production is also where a request goes that names no environment."""
    name = "x-goldenpath-environment"
    if place.environment != PRODUCTION:
        return {"name": name, "string_match": {"exact": place.environment}}
    pattern = {"safe_regex": {"regex": f"({PRODUCTION})?"}}
    return {"name": name, "treat_missing_header_as_empty": True, "string_match": pattern}


def _action(route: Route, protocol: str) -> Json:
    action: Json = {
        "timeout": f"{route.timeout.total_seconds():g}s",
        "hash_policy": [{"header": {"header_name": "x-unit-id"}}],
        "weighted_clusters": {
            "use_hash_policy": True,
            "clusters": [_weighted(route.place, share, protocol) for share in route.shares],
        },
        "retry_policy": _retries(route),
    }
    if route.mirror is not None:
        action["request_mirror_policies"] = [_mirror(route.place, route.mirror, protocol)]
    return action


def _retries(route: Route) -> Json:
    unsent = "connect-failure,refused-stream,reset-before-request"
    extension = "type.googleapis.com/envoy.extensions.retry"
    return {
        "retry_on": f"{unsent},reset" if route.repeats else unsent,
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        # Not to the same dead process: to the stable's other one, or to the fallback, whichever there is.
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{extension}.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": "3",
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{extension}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }


def _weighted(place: Place, share: Share, protocol: str) -> Json:
    return {
        "name": cluster_name(place, share.version, protocol),
        "weight": share.weight,
        "request_headers_to_add": _stamps(place, share, share.arm.value, share.weight / 100),
        "response_headers_to_add": _told(share),
    }


def _told(share: Share) -> list[Json]:
    """What the client learns of its request: a label that comes long after can then name version, arm and chance."""
    return [
        _stamp("x-goldenpath-version", str(share.version)),
        _stamp("x-goldenpath-arm", share.arm.value),
        _stamp("x-goldenpath-probability", f"{share.weight / 100:g}"),
    ]


def _mirror(place: Place, share: Share, protocol: str) -> Json:
    return {
        "cluster": cluster_name(place, share.version, protocol),
        "runtime_fraction": {"default_value": {"numerator": 100}},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": stamp} for stamp in _stamps(place, share, _SHADOW, 1.0)],
    }


def _stamps(place: Place, share: Share, arm: str, probability: float) -> list[Json]:
    return [
        _stamp("x-goldenpath-deployment", str(place)),
        _stamp("x-goldenpath-epoch", str(share.epoch)),
        _stamp("x-goldenpath-arm", arm),
        _stamp("x-goldenpath-version", str(share.version)),
        _stamp("x-goldenpath-probability", f"{probability:g}"),
    ]


def _stamp(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
