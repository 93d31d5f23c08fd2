"""The same features from a feature store: rows for its views, events that carry them, and training sets out of it.

    customer_windows    customer_count_Nd, customer_mean_Nd, customer_usual, as of the second after a payment
    terminal_windows    terminal_count_Nd, terminal_risk_Nd, as of the second after a payment there

What each number is stands in `features`. Whoever asks the store gets the numbers as of the entity's last payment, in
training as in production, while `features` slides its windows to the very moment that is asked about. What needs the
request itself (amount_over_usual) isn't in a store.

    python -m examples.fraud.store --kafka 127.0.0.1:9792        every payment of the data, as events for the pusher
    python -m examples.fraud.store --fresh                       what is known of each by now, so that it isn't stale
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from examples.fraud.features import of_customers, of_terminals, request_of
from examples.fraud.simulator import DATA
from goldenpath.ingest.v1.events_pb2 import FeatureRow, FeaturesComputed

if TYPE_CHECKING:
    from feast import FeatureStore

VIEWS: Final = {"customer_windows": "customer", "terminal_windows": "terminal"}
"""By view, its key."""

SERVICE: Final = "fraud"
"""The feature service of both."""

_AFTER: Final = 1  # second: a payment isn't among what is known of it
_KNOWN_WITHIN: Final = (pd.Timedelta(seconds=_AFTER), pd.Timedelta(days=30))  # as feature_repo has it
_OF_THE_REQUEST: Final = "amount_over_usual"
_ROWS_PER_EVENT: Final = 1_000


def rows_of(view: str, transactions: pd.DataFrame) -> pd.DataFrame:
    """A view's rows: its key, `event_time` (UTC), and its features; one for each transaction, in their order."""
    key = VIEWS[view]
    made = (of_customers if key == "customer" else of_terminals)(transactions, after=_AFTER)
    values = {name: column for name, column in made if name != _OF_THE_REQUEST}
    moment = (transactions["time"] + pd.Timedelta(seconds=_AFTER)).dt.tz_localize(UTC)
    return pd.DataFrame({key: keys_of(key, transactions), "event_time": moment, **values}, index=transactions.index)


def keys_of(key: str, transactions: pd.DataFrame) -> pd.Series:
    """The transactions' entities as the store knows them, such as customer-0042."""
    return transactions[key].map(lambda number: f"{key}-{number:04d}")


def training_set(store: FeatureStore, transactions: pd.DataFrame) -> pd.DataFrame:
    """What was known of each transaction at its moment, by a point-in-time join: what a request says, and the views.

    Args:
        store: Feast, with the history of all transactions.
        transactions: In any order; the result has theirs, and their index.

    Raises:
        LookupError: the store lacks payments that are among these.
    """
    asked = pd.DataFrame(
        {
            **{key: keys_of(key, transactions) for key in VIEWS.values()},
            "event_timestamp": transactions["time"].dt.tz_localize(UTC),
            "place": range(len(transactions)),
            **request_of(transactions),
        }
    )
    service = store.get_feature_service(SERVICE)
    joined = store.get_historical_features(asked, service).to_df().sort_values("place")
    inputs = joined.drop(columns=[*VIEWS.values(), "event_timestamp", "place"]).astype(float)
    inputs = inputs.set_axis(transactions.index)
    if lacking := _lacking(transactions, inputs):
        raise LookupError(f"the store lacks what {lacking:,} payments are known by: is the pusher still at it?")
    return inputs


def _lacking(transactions: pd.DataFrame, inputs: pd.DataFrame) -> int:
    """Of how many transactions nothing is known, although their customer or terminal had one right before."""
    in_order = transactions.sort_values("time")
    since = {key: in_order.groupby(key)["time"].diff() for key in VIEWS.values()}
    lacks = [
        gap.between(*_KNOWN_WITHIN) & inputs[f"{key}_count_1d"].isna().reindex(gap.index) for key, gap in since.items()
    ]
    return int(pd.concat(lacks, axis=1).any(axis=1).sum())


def events_of(transactions: pd.DataFrame, *, as_of: datetime | None = None) -> Iterator[FeaturesComputed]:
    """The views' rows as events, each of up to a thousand; or each key's last alone, as if true from `as_of` on."""
    for view, key in VIEWS.items():
        rows = rows_of(view, transactions)
        if as_of is not None:
            rows = rows.sort_values("event_time").drop_duplicates(key, keep="last").assign(event_time=as_of)
        for start in range(0, len(rows), _ROWS_PER_EVENT):
            part = rows.iloc[start : start + _ROWS_PER_EVENT].to_dict("records")
            yield FeaturesComputed(view=view, rows=[_row(key, values) for values in part])


def _row(key: str, values: dict[Any, Any]) -> FeatureRow:
    moment: pd.Timestamp = values.pop("event_time")
    row = FeatureRow(keys={key: values.pop(key)}, numbers=values)
    row.event_time.FromDatetime(moment.to_pydatetime())
    return row


async def publish(bootstrap: str, transactions: pd.DataFrame, *, as_of: datetime | None = None) -> int:
    """Publish the views' rows for the pusher, as `events_of` makes them; how many events they are."""
    from aiokafka import AIOKafkaProducer

    from services.chassis.cloudevents import event_of, headers_of

    sent = 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for body in events_of(transactions, as_of=as_of):
            subject, now = f"features/{body.view}", datetime.now(UTC)
            event = event_of(body, type="features.computed", source="bank/payments", subject=subject, time=now)
            await producer.send("ingest.features", event.data, key=subject.encode(), headers=headers_of(event))
            sent += 1
    return sent


def main() -> None:
    """Publish the rows of every payment of the data."""
    parser = argparse.ArgumentParser(description="Feature values of every payment, as events on ingest.features.")
    parser.add_argument("--kafka", default="127.0.0.1:9792", help="bootstrap servers, host:port")
    parser.add_argument("--customers", type=int, default=1_000, help="whose payments: all, or the first so many")
    parser.add_argument("--fresh", action="store_true", help="each one's last values alone, as if they were of now")
    wanted = parser.parse_args()
    transactions = pd.read_parquet(DATA)
    as_of = datetime.now(UTC) if wanted.fresh else None
    sent = asyncio.run(publish(wanted.kafka, transactions[transactions["customer"] < wanted.customers], as_of=as_of))
    print(f"{sent} events on ingest.features")


if __name__ == "__main__":
    main()
