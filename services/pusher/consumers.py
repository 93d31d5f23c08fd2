"""What the pusher hears: feature values, on ingest.features."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed
from services.chassis.database import Database
from services.chassis.errors import Invalid
from services.chassis.kafka import Consumer, Received
from services.chassis.settings import KafkaAccess
from services.chassis.signatures import Signers
from services.chassis.topics import FEATURES
from services.features.shapes import Shape
from services.pusher.domain.rows import MOST_ROWS, Given, row_of
from services.pusher.handlers import Online, push_rows
from services.pusher.store import PusherUnitOfWork

NAME: Final = "pusher"


class Pushing:
    """Pushes what is told.

    Args:
        shapes: By view, how its rows look.
        online: Where they are pushed.
    """

    def __init__(self, shapes: Mapping[str, Shape], online: Online) -> None:
        self._shapes = shapes
        self._online = online

    async def on_features_computed(self, received: Received[FeaturesComputed], uow: PusherUnitOfWork) -> None:
        """Keep and push a view's rows."""
        told = received.body
        shape = self._shapes.get(told.view)
        if shape is None:
            known = ", ".join(sorted(self._shapes)) or "none"
            raise Invalid(f"the feature store has no view {told.view[:80]!r}; it has: {known}", where="view")
        if not 1 <= len(told.rows) <= MOST_ROWS:
            raise Invalid(f"an event has 1 to {MOST_ROWS:,} rows", where="rows")
        rows = [
            row_of(_given(row, f"rows[{place}]"), shape, uow.now, where=f"rows[{place}]")
            for place, row in enumerate(told.rows)
        ]
        await push_rows(shape, rows, self._online, uow)


def _given(row: FeatureRow, where: str) -> Given:
    return Given(
        dict(row.keys),
        _moment(row, where) if row.HasField("event_time") else None,
        dict(row.numbers),
        dict(row.texts),
    )


def _moment(row: FeatureRow, where: str) -> datetime:
    try:
        return row.event_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("no moment between the years 1 and 9999", where=f"{where}.event_time") from None


def consumer_of(
    database: Database[PusherUnitOfWork],
    pushing: Pushing,
    *,
    kafka: KafkaAccess,
    session_timeout: timedelta,
    signers: Signers,
    name: str = NAME,
) -> Consumer[PusherUnitOfWork]:
    """The pusher's consumer."""
    consumer = Consumer(
        name, (FEATURES,), database=database, kafka=kafka, session_timeout=session_timeout, signers=signers
    )
    consumer.on("features.computed", FeaturesComputed, pushing.on_features_computed)
    return consumer
