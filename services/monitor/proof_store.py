"""The tables of proofs: served features against the feature store's history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.chassis.database import Connection


class KeptBatch(NamedTuple):
    """A kept batch: how many records its watch had seen with it, and its inputs, keys and features."""

    upto: int
    body: bytes


class Proofs:
    """How far proofs have come, and what they say."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def present(self) -> list[int]:
        """The watches that go on."""
        rows = await self._connection.fetch("SELECT id FROM watches WHERE ended_at IS NULL ORDER BY id")
        return [row["id"] for row in rows]

    async def next(self, watch: int, before: datetime, limit: int) -> list[KeptBatch]:
        """Kept batches that weren't looked at and arrived before a moment, oldest first."""
        rows = await self._connection.fetch(
            """SELECT upto, inputs FROM sampled_batches
               WHERE watch = $1 AND arrived_at < $2
                 AND upto > coalesce((SELECT upto FROM proof_places WHERE watch = $1), 0)
               ORDER BY upto LIMIT $3""",
            watch,
            before,
            limit,
        )
        return [KeptBatch(row["upto"], row["inputs"]) for row in rows]

    async def looked_at(self, watch: int, upto: int) -> None:
        """Note how far a watch's batches were looked at."""
        await self._connection.execute(
            """INSERT INTO proof_places VALUES ($1, $2)
               ON CONFLICT (watch) DO UPDATE SET upto = greatest(proof_places.upto, $2)""",
            watch,
            upto,
        )

    async def get(self, watch: int) -> dict[str, Mapping[str, Any]]:
        """What is known by view."""
        rows = await self._connection.fetch("SELECT view, body::text FROM proofs WHERE watch = $1", watch)
        return {row["view"]: json.loads(row["body"]) for row in rows}

    async def save(self, watch: int, bodies: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep what is known by view."""
        await self._connection.executemany(
            """INSERT INTO proofs VALUES ($1, $2, $3::text::jsonb)
               ON CONFLICT (watch, view) DO UPDATE SET body = excluded.body""",
            [(watch, view, json.dumps(body)) for view, body in bodies],
        )
