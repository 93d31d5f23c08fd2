"""What `golden doctor` looks at, and how it says what it finds: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx

from golden.connection import Connection, error_of
from golden.operations import ask
from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import GoldenpathError, Unavailable

_SILENT = "no answer"
_STOPPED = "became dead letters"  # the words on /readyz of a consumer that the dead-letter limit stopped
_FULL = "disk is full"  # and the database's
_BUSY = "connections to the database are in use"  # and a pool's that has none left: many ask, or nobody is answered
_SERVER_DIED = (
    "the deployer starts it again by itself, at most 30 s apart: mend what its log says, in the home's "
    "modelservers folder"
)
_PAGE = 1000  # the largest that there is
_REASONS = 3  # of a service; more would hide what else is wrong
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
        *_what_waits(platform),
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
    for name, url in platform.endpoints.http.items():
        for dependency, word in _causes(readiness(url)).items():
            if word == _SILENT:
                yield Finding(name, "doesn't answer", "golden up starts it again; its log is in the home's logs folder")
            elif word != "ok":
                yield Finding(name, f"{dependency}: {word}", _for_dependency(dependency, word))


def _causes(said: dict[str, str]) -> dict[str, str]:
    """What a service says, without what is only so because its database is in trouble, which it says too."""
    if said.get("database", "ok") == "ok":
        return said
    return {name: word for name, word in said.items() if name == "database" or "the database" not in word}


def _for_dependency(name: str, word: str) -> str:
    if _STOPPED in word:
        return "golden deadletters list says why; run a release that can, restart the service, and replay them"
    if _FULL in word:
        return "make room on the disk that PostgreSQL's data is on: whatever waits goes on by itself"
    if _BUSY in word:
        return "is PostgreSQL up, and quick? Where it is, set GOLDENPATH_DATABASE_CONNECTIONS higher"
    return {
        "database": "is PostgreSQL up, and its disk not full? golden up starts it again",
        "kafka": "is Kafka up? golden up starts it again",
        "outbox": "is Kafka up? golden up starts it again, and whatever waits is sent in its order",
        "events": "it goes on by itself, in its order, once what it says is mended or over",
        "records": "it goes on by itself, in its order, once what it says is mended",
        "proxy": "is Envoy up? golden up starts it again",
        "outcomes": "it is tried again by itself, at most 5 min apart: the monitor's log says what fails",
        "clock": "set its machine's time, by NTP: no order and no lease stands on it, but the times of events do",
    }.get(name, "golden up starts what is dead again")


def _what_waits(platform: Connection) -> Iterator[Finding]:
    for name in platform.endpoints.http:
        try:
            page = ask(platform, name, "GET", f"/v1/deadletters?page_size={_PAGE}", timeout_s=_TIMEOUT_S)
            reasons = ask(platform, name, "GET", "/v1/parked", timeout_s=_TIMEOUT_S)
        except Unavailable:
            continue  # that it doesn't answer is said already
        except GoldenpathError as error:
            yield Finding(name, f"its dead letters can't be seen: {error.what}", error.fix)
            continue
        if letters := page["letters"]:
            oldest, more = letters[0], " or more" if page["next_after"] else ""
            what = f"{len(letters)}{more} dead letters; the oldest: {oldest['error']}: {oldest['what']}"
            yield Finding(name, what, f"golden deadletters show {name}/{oldest['id']}, then replay or drop it")
        yield from _parked(name, reasons)


def _parked(service: str, reasons: list[dict[str, Any]]) -> Iterator[Finding]:
    yield from (_why_parked(service, reason) for reason in reasons[:_REASONS])
    if others := sum(reason["events"] for reason in reasons[_REASONS:]):
        yield Finding(service, f"{others} events are parked for other reasons", "golden deadletters parked")


def _why_parked(service: str, reason: dict[str, Any]) -> Finding:
    letter, events = f"{service}/{reason['id']}", f"{reason['events']} events are parked"
    if reason["dead"]:
        what = f"{events} behind the dead letter {letter} of their key: {reason['error']}: {reason['what']}"
        return Finding(service, what, f"golden deadletters show {letter}, then replay or drop it")
    what = f"{events} since {reason['since'][:16]}Z: {reason['error']}: {reason['what']}"
    fix = "they are tried again by themselves, at most 30 s apart: mend what it says"
    return Finding(service, what, f"{fix}; if it can't be, golden deadletters drop {letter}")


def _unanswered(platform: Connection, service: str, failure: grpc.RpcError) -> Iterator[Finding]:
    """A question that failed; nothing where the service is known to be silent already."""
    error = error_of(failure)
    if not isinstance(error, Unavailable) or service not in platform.endpoints.http:
        yield Finding(service, error.what, error.fix or "golden status")


def _deployments(platform: Connection) -> Iterator[Finding]:
    if not platform.endpoints.grpc.get("deployer"):
        return
    try:
        for page in pages(platform.deployer.ListDeployments, deployer.ListDeploymentsRequest):
            for one in page.deployments:
                yield from _deployment(one)
    except grpc.RpcError as failure:
        yield from _unanswered(platform, "deployer", failure)


def _deployment(one: deployer.Deployment) -> Iterator[Finding]:
    name = f"{one.position.model}/{one.position.environment}"
    if one.held:
        yield Finding(name, f"held: {one.held_reason}", f"golden release {one.position.model} --reason …")
    if one.HasField("training"):
        yield Finding(name, f"a new version is asked for: {one.training.reason}", "golden trainer FOLDER")
    if not one.effective:
        yield Finding(name, "the proxy doesn't show yet what was decided", f"golden history {one.position.model}")
    if one.rollout.state == deployer.ROLLOUT_STATE_FAILED:
        what = f"the rollout of version {one.rollout.version} failed: {one.rollout.judgement}"
        yield Finding(name, what, f"golden history {one.position.model}")
    for servers in one.servers:
        if servers.ready < servers.wanted and servers.deaths:
            yield Finding(name, _lacking(servers), _SERVER_DIED)


def _lacking(servers: deployer.Servers) -> str:
    there = f"{servers.ready} of {servers.wanted} servers of version {servers.version} answer"
    died = f"the last {servers.deaths} died" if servers.deaths > 1 else "one died"
    return f"{there}: {died}{servers.last_words and f', and said last: {servers.last_words}'}"


def _waiting(platform: Connection) -> Iterator[Finding]:
    if not platform.endpoints.grpc.get("governance"):
        return
    try:
        for page in pages(platform.governance.ListWaiting, governance.ListWaitingRequest):
            for verdict in page.verdicts:
                name = f"{verdict.model}@{verdict.version}"
                yield Finding(name, "waits for a reviewer who didn't register it", f"golden approve {name}")
    except grpc.RpcError as failure:
        yield from _unanswered(platform, "governance", failure)


def pages(ask_for: Callable[[Any], Any], request: Callable[..., Any]) -> Iterator[Any]:
    """Everything that a list has, page by page."""
    page = ask_for(request(page_size=_PAGE))
    yield page
    while page.next_page_token:
        page = ask_for(request(page_size=_PAGE, page_token=page.next_page_token))
        yield page
