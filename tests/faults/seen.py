"""What stands in the databases, read directly: the checker believes no service."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from services.governance.domain import merkle
from services.governance.domain.merkle import Node, Span
from tests.faults.rows import ONLINE, VIEW
from tests.faults.world import PROCESSES, World


@dataclass(frozen=True)
class Sent:
    """A row of an outbox."""

    id: int
    topic: str
    key: bytes | None
    sequence: int | None
    event_id: str
    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None
    sent: bool


@dataclass(frozen=True)
class Waiting:
    """A row of `parked`."""

    service: str
    id: int
    key: str
    dead: bool
    topic: str
    partition: int
    offset: int
    what: str


@dataclass(frozen=True)
class Logged:
    """An entry of governance's log."""

    index: int
    topic: str
    partition: int
    offset: int
    content_hash: bytes
    leaf_hash: bytes


@dataclass
class Seen:
    """What stood in the databases at one moment; each database at a moment of its own."""

    outbox: dict[str, list[Sent]] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    stale_cases: int = 0
    moments: list[tuple[str, int, int]] = field(default_factory=list)
    log: list[Logged] = field(default_factory=list)
    log_places: dict[tuple[str, int], int] = field(default_factory=dict)
    log_root: bytes = b""
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    stays: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    datasheets: dict[str, int] = field(default_factory=dict)
    aliases: list[dict[str, Any]] = field(default_factory=list)
    stream: dict[int, int] = field(default_factory=dict)
    kept: list[tuple[str, int]] = field(default_factory=list)
    online: dict[tuple[str, str], tuple[datetime, float]] = field(default_factory=dict)
    went_back: list[str] = field(default_factory=list)


async def look(world: World) -> Seen:
    """Read every database."""
    seen = Seen()
    for service in PROCESSES:
        connection = await asyncpg.connect(world.dsn(service))
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await _read(seen, service, connection)
        finally:
            await connection.close()
    return seen


async def _read(seen: Seen, service: str, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    seen.outbox[service] = [_sent(row) for row in await connection.fetch("SELECT * FROM outbox ORDER BY id")]
    for row in await connection.fetch("SELECT * FROM parked ORDER BY id"):
        stood = (row["topic"], row["partition"], row["offset"])
        seen.waiting.append(Waiting(service, row["id"], row["key"], row["dead"], *stood, row["what"]))
    match service:
        case "registry":
            seen.versions = _rows(await connection.fetch("SELECT model, number, artifact_digest FROM versions"))
            counted = await connection.fetch("SELECT name, count(*) AS revisions FROM datasheets GROUP BY name")
            seen.datasheets = {row["name"]: row["revisions"] for row in counted}
            seen.aliases = _rows(await connection.fetch("SELECT * FROM aliases ORDER BY id"))
        case "governance":
            await _read_governance(seen, connection)
        case "deployer":
            await _read_deployer(seen, connection)
        case "monitor":
            rows = await connection.fetch("SELECT partition, next FROM stream_offsets")
            seen.stream = {row["partition"]: row["next"] for row in rows}
        case "pusher":
            await _read_pusher(seen, connection)


async def _read_governance(seen: Seen, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    rows = await connection.fetch("SELECT id::text, model, version, state, body FROM verdicts ORDER BY sequence")
    seen.verdicts = [dict(row) | json.loads(row["body"]) for row in rows]
    seen.cases = _rows(await connection.fetch("SELECT model, version, state FROM cases"))
    seen.stale_cases = await connection.fetchval(
        """SELECT count(*) FROM cases WHERE look_again IS NOT NULL
           OR policies_revision < (SELECT coalesce(max(revision), 0) FROM policies)"""
    )
    places = await connection.fetch('SELECT topic, partition, "offset" FROM moments')
    seen.moments = [(row["topic"], row["partition"], row["offset"]) for row in places]
    columns = 'index, topic, partition, "offset", content_hash, leaf_hash'
    seen.log = [
        Logged(*row.values()) for row in await connection.fetch(f"SELECT {columns} FROM log_entries ORDER BY index")
    ]
    seen.log_places = {
        (row["topic"], row["partition"]): row["next"] for row in await connection.fetch("SELECT * FROM log_places")
    }
    size = await connection.fetchval("SELECT size FROM log_head")
    wanted = merkle.nodes_of(Span(0, size))
    stored = {
        Node(row["level"], row["index"]): row["hash"] for row in await connection.fetch("SELECT * FROM log_nodes")
    }
    seen.log_root = merkle.frontier_of(size, {node: stored[node] for node in wanted}).root


async def _read_deployer(seen: Seen, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    rows = await connection.fetch("SELECT model, version, state, body, ended_at FROM rollouts ORDER BY number")
    seen.rollouts = [dict(row) | json.loads(row["body"]) | {"state": row["state"]} for row in rows]
    seen.history = _rows(await connection.fetch("SELECT id, model, type, body, effective_at FROM history ORDER BY id"))
    seen.decisions = _rows(await connection.fetch("SELECT model, signal_id, body FROM decisions ORDER BY number"))
    rows = await connection.fetch("SELECT model, state FROM deployments")
    seen.deployments = [{"model": row["model"], **json.loads(row["state"])} for row in rows]
    seen.stays = _rows(await connection.fetch("SELECT model, version, epoch FROM stays ORDER BY id"))


async def _read_pusher(seen: Seen, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """What Feast keeps is read by its bytes: a key ends with its text, and a value of one double with that.

    Feast itself takes six seconds to import.
    """
    rows = await connection.fetch(f"SELECT customer, count_7d FROM {VIEW}_history")
    seen.kept = [(row["customer"], int(row["count_7d"])) for row in rows]
    for row in await connection.fetch(f"SELECT entity_key, feature_name, value, event_ts FROM {ONLINE}"):
        (value,) = struct.unpack("<d", row["value"][-8:])
        seen.online[_customer(row["entity_key"]), row["feature_name"]] = (row["event_ts"], value)
    for row in await connection.fetch("SELECT * FROM went_back"):
        moved = f"from {row['stood']} to {row['became']}"
        seen.went_back.append(f"{row['feature']} of {_customer(row['entity'])} {moved}")


def _customer(key: bytes) -> str:
    return key[key.rindex(b"customer-") :].decode()


def _rows(rows: Iterable[asyncpg.Record]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


def _sent(row: asyncpg.Record) -> Sent:
    headers = tuple(zip(row["header_names"], row["header_values"], strict=True))
    event_id = next((value.decode() for name, value in headers if name == "ce_id"), "") if row["sequence"] else ""
    return Sent(
        row["id"],
        row["topic"],
        row["key"],
        row["sequence"],
        event_id,
        headers,
        row["value"],
        row["sent_at"] is not None,
    )
