"""What `golden doctor` looks at, and how it says what it finds: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import httpx

from golden.connection import SERVICES, Connection, error_of
from golden.operations import ask
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import GoldenpathError, Unavailable

_SILENT = "no answer"
_STOPPED = "stopped itself"  # a consumer's own words on /readyz
_PARKED = "goldenpath_parked_events{"
_TIMEOUT_S = 4.0  # a service gives each of its dependencies two seconds


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or waits for somebody.

    Args:
        where: The service, the deployment or the part.
        what: What is wrong, in a sentence.
        fix: What to do.
    """

    where: str
    what: str
    fix: str


def examine(platform: Connection) -> list[Finding]:
    """Everything that is wrong with a platform; empty where nothing is."""
    return [
        *_services(platform),
        *_dead_letters(platform),
        *_parked(platform),
        *_deployments(platform),
        *_waiting(platform),
    ]


def readiness(url: str) -> dict[str, str]:
    """What a service says of its dependencies; itself under its own name where it says nothing."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_TIMEOUT_S)
        document = answer.json()
    except (httpx.HTTPError, ValueError):
        return {"process": _SILENT}
    return {str(name): str(word) for name, word in document.items()} if isinstance(document, dict) else {}


def _services(platform: Connection) -> Iterator[Finding]:
    if not platform.endpoints.http:
        yield Finding(
            "platform",
            "nobody said where its services have HTTP, so their health and dead letters weren't looked at",
            "set GOLDEN_REGISTRY_HTTP and its siblings",
        )
    for name in SERVICES:
        url = platform.endpoints.http.get(name)
        if not url:
            continue
        for dependency, word in readiness(url).items():
            if word == _SILENT:
                yield Finding(name, "doesn't answer", "golden up starts it again; its log is in the home's logs folder")
            elif word != "ok":
                yield Finding(name, f"{dependency}: {word}", _for_dependency(dependency, word))


def _for_dependency(name: str, word: str) -> str:
    if _STOPPED in word:
        return "golden deadletters list says why; run a release that can, restart the service, and replay them"
    return {
        "database": "is PostgreSQL up, and its disk not full? golden up starts it again",
        "kafka": "is Kafka up? golden up starts it again",
        "proxy": "is Envoy up? golden up starts it again",
    }.get(name, "golden up starts what is dead again")


def _dead_letters(platform: Connection) -> Iterator[Finding]:
    for name in platform.endpoints.http:
        try:
            letters = ask(platform, name, "GET", "/v1/deadletters", timeout_s=_TIMEOUT_S)["letters"]
        except Unavailable:
            continue  # that it doesn't answer is said already
        except GoldenpathError as error:
            yield Finding(name, f"its dead letters can't be seen: {error.what}", error.fix)
            continue
        if letters:
            oldest = letters[0]
            what = f"{len(letters)} dead letters; the oldest: {oldest['error']}: {oldest['what']}"
            yield Finding(name, what, f"golden deadletters show {name}/{oldest['id']}, then replay or drop it")


def _parked(platform: Connection) -> Iterator[Finding]:
    for name, url in platform.endpoints.http.items():
        parked = _gauge(url, _PARKED)
        if parked:
            what = f"{parked} events are parked: what they speak of isn't there, or an earlier one of their key waits"
            yield Finding(
                name, what, "they are tried again by themselves; golden deadletters list, and the log, say why"
            )


def _gauge(url: str, name: str) -> int:
    """The sum of a gauge over its labels; 0 where the service doesn't say."""
    try:
        answer = httpx.get(f"{url}/metrics", timeout=_TIMEOUT_S)
    except httpx.HTTPError:
        return 0  # that it doesn't answer is said already
    lines = answer.text.splitlines() if answer.is_success else []
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))


def _unanswered(platform: Connection, service: str, failure: grpc.RpcError) -> Iterator[Finding]:
    """A question that failed; nothing where the service is known to be silent already."""
    error = error_of(failure)
    if not isinstance(error, Unavailable) or service not in platform.endpoints.http:
        yield Finding(service, error.what, error.fix or "golden status")


def _deployments(platform: Connection) -> Iterator[Finding]:
    if not platform.endpoints.grpc.get("deployer"):
        return
    try:
        found = platform.deployer.ListDeployments(deployer.ListDeploymentsRequest()).deployments
    except grpc.RpcError as failure:
        yield from _unanswered(platform, "deployer", failure)
        return
    for one in found:
        name = f"{one.position.model}/{one.position.environment}"
        if one.held:
            yield Finding(name, f"held: {one.held_reason}", f"golden release {one.position.model} --reason …")
        if not one.effective:
            yield Finding(name, "the proxy doesn't show yet what was decided", f"golden history {one.position.model}")
        if one.rollout.state == deployer.ROLLOUT_STATE_FAILED:
            what = f"the rollout of version {one.rollout.version} failed: {one.rollout.judgement}"
            yield Finding(name, what, f"golden history {one.position.model}")


def _waiting(platform: Connection) -> Iterator[Finding]:
    if not platform.endpoints.grpc.get("governance"):
        return
    try:
        verdicts = platform.governance.ListWaiting(governance.ListWaitingRequest()).verdicts
    except grpc.RpcError as failure:
        yield from _unanswered(platform, "governance", failure)
        return
    for verdict in verdicts:
        name = f"{verdict.model}@{verdict.version}"
        yield Finding(name, "waits for a reviewer who didn't register it", f"golden approve {name}")
