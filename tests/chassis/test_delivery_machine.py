"""Outbox and inbox under everything that a broker, a replica and an operator may do: what always holds.

A state machine drives two real relays and two real consumers of one group over real tables; only the broker is in
memory, where it can be told to lose an acknowledgement between two statements. At every point the effects of a key
are those of its events in order, each once. And once everything is mended, no event is missing but what was dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.chassis import parking
from services.chassis.cloudevents import headers_of
from services.chassis.database import Database, UnitOfWork
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.fates import DeadLetterLimit
from services.chassis.kafka import Consumer
from services.chassis.leases import Leases
from services.chassis.outbox import Relay
from services.chassis.settings import KafkaAccess
from tests.chassis.kit import TYPE, Service, body, event, make_database, own_topics
from tests.chassis.memory_broker import PARTITIONS, Broker, MemoryConsumer, MemoryProducer, Send

T = TypeVar("T")
KEYS = ("model/a", "model/b", "model/c")
TROUBLES: dict[str, Exception] = {
    "invalid": Invalid("no"),
    "denied": Denied("no"),
    "not there": NotFound("no"),
    "at once": Conflict("no"),
    "down": Unavailable("no"),
    "unknown": RuntimeError("no"),
}
_TABLES = (
    "outbox, outbox_sequences, inbox_sequences, inbox_ids, publishers, parked, dead_letter_actions, leases, effects"
)
_ROUNDS = 60  # more than a drained platform takes: unknown errors are tried five times

replicas = st.integers(0, 1)
troubles = st.tuples(st.integers(0, 12), st.sampled_from(sorted(TROUBLES)))
outcomes = st.lists(st.sampled_from(Send), max_size=4)


class MemoryRelay(Relay):
    """The relay, with a producer in memory."""

    def __init__(self, database: Database[UnitOfWork], broker: Broker) -> None:
        super().__init__(database, Leases(database, duration=timedelta(seconds=60)), kafka=KafkaAccess(""))
        self._broker = broker
        self.outcomes: Sequence[Send] = ()

    async def _connected(self) -> AIOKafkaProducer:
        return cast("AIOKafkaProducer", MemoryProducer(self._broker, self.outcomes))

    async def round(self, outcomes: Sequence[Send]) -> None:
        """One round; what went wrong costs time, as in `run`."""
        self.outcomes, self._renew_at = outcomes, 0.0
        try:
            await self._round()
        except (KafkaError, GoldenpathError):
            return


class Delivery(RuleBasedStateMachine):
    """One service that emits and consumes, with two replicas."""

    loop: asyncio.AbstractEventLoop
    database: Database[UnitOfWork]

    @initialize(keys=st.lists(st.sampled_from(KEYS), min_size=4, max_size=12), troubles=st.lists(troubles, max_size=4))
    def a_service_begins(self, keys: list[str], troubles: list[tuple[int, str]]) -> None:
        self.names = count(1)
        self.emitted: dict[str, list[str]] = {key: [] for key in KEYS}
        self.published: set[str] = set()
        self.dropped: set[str] = set()
        self.broker = Broker()
        self.service = Service(self.database, *own_topics("machine"))
        self.relays = [MemoryRelay(self.database, self.broker) for _ in range(2)]
        self.polling = [MemoryConsumer(self.broker) for _ in range(2)]
        self.consumers: list[Consumer[UnitOfWork]] = [self.service.consumer("machine", "") for _ in range(2)]
        for number, place in enumerate(self._places()):
            self.broker.give(place, self.polling[number % 2])
        self._run(self._execute(f"TRUNCATE {_TABLES} RESTART IDENTITY"))
        self.changes_commit(keys)
        for which, trouble in troubles:
            self.an_event_is_in_trouble((which, trouble))
        self.a_relay_sends(0, [])

    # What services do

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=6))
    def changes_commit(self, keys: list[str]) -> None:
        for key in keys:
            name = f"{key} {next(self.names)}"
            self._run(self._emit(key, name))
            self.emitted[key].append(name)

    @rule(key=st.sampled_from(KEYS))
    def a_change_is_undone(self, key: str) -> None:
        with pytest.raises(Invalid):
            self._run(self._emit(key, "undone", trouble=Invalid("no")))

    @rule(key=st.sampled_from(KEYS), times=st.integers(1, 2))
    def another_system_publishes(self, key: str, times: int) -> None:
        name = f"other {next(self.names)}"
        made = event(name, subject=key, id=name)
        for _ in range(times):
            self.broker.append(self.service.others.name, key.encode(), headers_of(made), made.data)
        self.published.add(name)

    @rule(replica=replicas, outcomes=outcomes)
    def a_relay_sends(self, replica: int, outcomes: list[Send]) -> None:
        self._run(self.relays[replica].round(outcomes))

    @rule()
    def both_replicas_poll(self) -> None:
        self._run(self._poll(0))
        self._run(self._poll(1))

    @rule(replica=replicas)
    def a_replica_polls(self, replica: int) -> None:
        self._run(self._poll(replica))

    @rule(replica=replicas)
    def a_replica_dies_before_its_commit(self, replica: int) -> None:
        self.polling[replica].loses_commits = True
        self._run(self._poll(replica))
        self.polling[replica].loses_commits = False
        for place in self.polling[replica].assignment():
            self.broker.give(place, self.polling[1 - replica])

    @rule(replica=replicas)
    def what_is_parked_is_tried_again(self, replica: int) -> None:
        self._run(self._retry(replica))

    # What goes wrong

    @rule(where=st.integers(0, 2 * PARTITIONS - 1), replica=replicas)
    def a_partition_moves(self, where: int, replica: int) -> None:
        self.broker.give(self._places()[where], self.polling[replica])

    @rule(where=st.integers(0, 2 * PARTITIONS - 1))
    def a_topic_is_read_from_its_beginning(self, where: int) -> None:
        place = self._places()[where]
        self.broker.committed[place] = 0
        self.broker.give(place, self.broker.owner[place])

    @rule(where=st.integers(0, 2 * PARTITIONS - 1), which=st.integers(0, 30))
    def the_broker_repeats_a_record(self, where: int, which: int) -> None:
        stood = self.broker.logs[self._places()[where]]
        for record in stood[which : which + 1]:
            self.broker.append(record.topic, record.key, list(record.headers), record.value)

    @rule()
    def the_lanes_leases_run_out(self) -> None:
        self._run(self._execute("UPDATE leases SET expires_at = now() - interval '1 second'"))

    @rule(what=troubles)
    def an_event_is_in_trouble(self, what: tuple[int, str]) -> None:
        which, trouble = what
        for name in sorted(self._names())[which:][:1]:
            self.service.trouble[name] = TROUBLES[trouble]

    @rule()
    def all_trouble_is_over(self) -> None:
        self.service.trouble.clear()

    @rule(which=st.integers(0, 5), drop=st.booleans())
    def an_operator_sees_to_a_dead_letter(self, which: int, drop: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        self._run(self._operate(which, drop=drop))

    # What always holds

    @invariant()
    def every_key_has_the_effects_of_its_events_in_order_and_once(self) -> None:
        effects = self._run(self.service.effects())
        for key, names in self.emitted.items():
            had = [name for name in effects if name.startswith(key)]
            waits = names[: len(had) + len(self.dropped.intersection(names))]
            assert had == [name for name in waits if name not in self.dropped]
        others = [name for name in effects if name.startswith("other")]
        assert len(others) == len(set(others))

    def teardown(self) -> None:
        """Everything is mended: nothing is missing but what was dropped."""
        self.service.trouble.clear()
        self._run(self._settle())
        effects = self._run(self.service.effects())
        told = {name for names in self.emitted.values() for name in names} | self.published
        assert set(effects) == told - self.dropped
        assert len(effects) == len(set(effects))
        assert self._run(self.service.count("parked")) == 0

    # Helpers

    def _places(self) -> list[TopicPartition]:
        topics = (self.service.ours, self.service.others)
        return [TopicPartition(topic.name, partition) for topic in topics for partition in range(PARTITIONS)]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _emit(self, key: str, name: str, trouble: Exception | None = None) -> None:
        async with self.database.begin() as uow:
            uow.emit(self.service.ours, TYPE, key, body(name))
            await uow.write_events()
            uow.forget_events()
            if trouble is not None:
                raise trouble

    async def _poll(self, replica: int) -> None:
        consumer = self.consumers[replica]
        consumer._handling.limit = DeadLetterLimit(
            "machine"
        )  # it stops a consumer for good; its own tests are elsewhere
        consumer._pauses._until = dict.fromkeys(consumer._pauses._until, 0.0)
        await consumer._poll(cast("AIOKafkaConsumer", self.polling[replica]))

    async def _retry(self, replica: int) -> None:
        await self._execute("UPDATE parked SET next_attempt_at = now() - interval '1 second'")
        await self.consumers[replica]._handling.retry_one()

    async def _operate(self, which: int, *, drop: bool) -> None:
        async with self.database.begin(actor="otto") as uow:
            dead = (await parking.list_dead(uow.connection, after=0, limit=10))[which:][:1]
            for row in dead:
                if drop:
                    await parking.drop(uow.connection, row["id"], actor="otto", reason="it can't be mended")
                    self.dropped |= {name for name in self._names() if name.encode() in row["value"]}
                else:
                    await parking.replay(uow.connection, row["id"], actor="otto", reason="it was mended")

    def _names(self) -> set[str]:
        return {name for names in self.emitted.values() for name in names} | self.published

    async def _settle(self) -> None:
        for number in range(_ROUNDS):
            if await self._is_settled():
                return
            await self._execute("UPDATE leases SET expires_at = now() - interval '1 second'")
            await self.relays[number % 2].round(())
            await self._poll(number % 2)
            for _ in range(5):
                await self._retry(number % 2)
            await self._operate(0, drop=False)

    async def _is_settled(self) -> bool:
        ends = {place: len(self.broker.logs[place]) for place in self._places()}
        unsent = await self.service.rows("SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1")
        return (
            not unsent
            and ends.items() <= {**dict.fromkeys(ends, 0), **self.broker.committed}.items()
            and not await self.service.count("parked")
        )

    async def _execute(self, statement: str) -> None:
        async with self.database.read() as connection:
            await connection.execute(statement)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_each_event_has_its_effect_once_and_in_order_whatever_happens(
    loop: asyncio.AbstractEventLoop, database: Any, migrations: Path
) -> None:
    db = make_database(database.dsn, migrations=migrations)
    loop.run_until_complete(db.start())

    class OnTables(Delivery):
        pass

    OnTables.loop, OnTables.database = loop, db
    try:
        run_state_machine_as_test(
            OnTables,
            settings=settings(
                max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        loop.run_until_complete(db.stop())
