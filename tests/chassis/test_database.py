from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.chassis.database import Database, UnitOfWork
from services.chassis.errors import Conflict, Invalid, Unavailable
from services.chassis.notifications import Notifications
from tests.chassis.kit import Service, body, make_database


async def add(db: Database[UnitOfWork], what: str) -> None:
    async with db.begin() as uow:
        await uow.connection.execute("INSERT INTO effects (what) VALUES ($1)", what)


async def fail_after_emitting(service: Service, what: str) -> None:
    async with service.database.begin() as uow:
        await uow.connection.execute("INSERT INTO effects (what) VALUES ($1)", what)
        uow.emit(service.ours, "model.registered", "model/credit", body())
        await uow.write_events()
        raise LookupError


async def test_a_unit_of_work_commits_when_its_block_ends_well(service: Service) -> None:
    await add(service.database, "done")

    assert await service.effects() == ["done"]


async def test_a_unit_of_work_is_undone_with_its_events_when_its_block_raises(service: Service) -> None:
    with pytest.raises(LookupError):
        await fail_after_emitting(service, "undone")

    assert await service.effects() == []
    assert await service.count("outbox") == 0


async def test_a_unit_of_work_that_is_cancelled_is_undone(service: Service) -> None:
    begun = asyncio.Event()

    async def never_ends() -> None:
        async with service.database.begin() as uow:
            await uow.connection.execute("INSERT INTO effects (what) VALUES ('undone')")
            begun.set()
            await asyncio.Event().wait()

    working = asyncio.ensure_future(never_ends())
    await begun.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    assert await service.effects() == []


async def test_two_replicas_that_start_at_once_migrate_once(database: Any, migrations: Path) -> None:
    replicas = [make_database(database.dsn, migrations=migrations, connections=2) for _ in range(4)]
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        async with replicas[0].read() as connection:
            names = [row["name"] for row in await connection.fetch("SELECT name FROM migrations ORDER BY name")]
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas))

    shipped = [f"chassis/{one.name}" for one in (files("services.chassis") / "migrations").iterdir()]
    assert names == [*sorted(shipped), "service/0001_effects.sql"]


async def test_a_migration_that_fails_leaves_nothing_behind(database: Any, migrations: Path) -> None:
    (migrations / "0002_wrong.sql").write_text("CREATE TABLE half (id int); CREATE TABEL wrong ();")
    replica = make_database(database.dsn, migrations=migrations)

    with pytest.raises(asyncpg.PostgresSyntaxError):
        await replica.start()

    connection = await asyncpg.connect(database.dsn)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert tables == []


async def test_a_database_that_isnt_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="doesn't let goldenpath/test in"):
        await make_database("postgresql://nobody:nothing@127.0.0.1:1/nowhere").start()


async def test_a_wrong_password_is_said_in_words(database: Any) -> None:
    with pytest.raises(Unavailable, match="password authentication failed"):
        await make_database(database.dsn.replace(f"{database.role}:", f"{database.role}:x")).start()


async def test_before_the_start_and_after_the_stop_it_is_unavailable(database: Any) -> None:
    replica = make_database(database.dsn)
    with pytest.raises(Unavailable, match="isn't connected"):
        await replica.ready()
    await replica.start()
    await replica.ready()
    await replica.stop()

    with pytest.raises(Unavailable, match="isn't connected"):
        await replica.ready()


async def test_a_connection_that_the_server_ends_is_unavailable_and_then_mended(service: Service) -> None:
    with pytest.raises(Unavailable):
        async with service.database.begin() as uow:
            await uow.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    await add(service.database, "afterwards")
    assert await service.effects() == ["afterwards"]


async def test_a_deadlock_is_a_conflict_for_one_of_the_two(service: Service) -> None:
    await add(service.database, "a")
    await add(service.database, "b")
    first_has_one = asyncio.Event()
    second_has_one = asyncio.Event()

    async def change(mine: str, theirs: str, have: asyncio.Event, others_have: asyncio.Event) -> None:
        async with service.database.begin() as uow:
            await uow.connection.execute("UPDATE effects SET what = what WHERE what = $1", mine)
            have.set()
            await others_have.wait()
            await uow.connection.execute("UPDATE effects SET what = what WHERE what = $1", theirs)

    ends = await asyncio.gather(
        change("a", "b", first_has_one, second_has_one),
        change("b", "a", second_has_one, first_has_one),
        return_exceptions=True,
    )

    assert [type(end) for end in ends if end is not None] == [Conflict]


async def test_text_that_the_database_cant_hold_is_the_senders_fault(service: Service) -> None:
    with pytest.raises(Invalid, match="can't be stored"):
        await add(service.database, "a\x00b")


async def test_an_argument_of_the_wrong_range_is_a_bug_and_not_the_servers_trouble(service: Service) -> None:
    with pytest.raises(asyncpg.DataError, match="out of int32 range"):
        async with service.database.begin() as uow:
            await uow.connection.execute("SELECT $1::int", 2**40)


async def test_a_notification_wakes_whoever_waits(service: Service) -> None:
    told = Notifications(service.database, "told")
    await told.wait(at_most=timedelta(seconds=30))  # begins to listen
    waiting = asyncio.ensure_future(told.wait(at_most=timedelta(seconds=30)))
    async with service.database.begin() as uow:
        await uow.connection.execute("SELECT pg_notify('told', '')")

    async with asyncio.timeout(20):  # less than it waits by itself
        await waiting
    await told.close()


async def test_a_notification_does_not_swallow_being_cancelled(service: Service) -> None:
    told = Notifications(service.database, "told")
    await told.wait(at_most=timedelta(seconds=30))
    waiting = asyncio.ensure_future(told.wait(at_most=timedelta(seconds=30)))
    await asyncio.sleep(0)  # it waits now

    told._woken.set()
    waiting.cancel()

    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await told.close()


async def test_a_listener_whose_connection_ends_wakes_and_listens_again(service: Service) -> None:
    told = Notifications(service.database, "told")
    await told.wait(at_most=timedelta(seconds=30))
    waiting = asyncio.ensure_future(told.wait(at_most=timedelta(seconds=30)))
    await end_listeners(service)
    async with asyncio.timeout(20):  # less than it waits by itself
        await waiting
    await told.wait(at_most=timedelta(seconds=30))
    assert await listeners(service) == 1
    await told.close()


async def end_listeners(service: Service) -> None:
    await service.rows(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE query LIKE 'LISTEN%' AND datname = current_database()"""
    )


async def listeners(service: Service) -> int:
    rows = await service.rows(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    return len(rows)


async def test_sequences_are_commit_order_under_concurrency(service: Service) -> None:
    async def emit(number: int) -> None:
        async with service.database.begin() as uow:
            for subject in ("model/a", "model/b"):
                uow.emit(service.ours, "model.registered", subject, body(f"{number}"))

    await asyncio.gather(*(emit(number) for number in range(60)))

    for subject in (b"model/a", b"model/b"):
        rows = await service.rows("SELECT sequence, value FROM outbox WHERE key = $1 ORDER BY id", subject)
        assert [row["sequence"] for row in rows] == list(range(1, 61))


async def test_a_sequence_that_was_undone_is_given_to_the_next(service: Service) -> None:
    with pytest.raises(LookupError):
        await fail_after_emitting(service, "undone")
    async with service.database.begin() as uow:
        uow.emit(service.ours, "model.registered", "model/credit", body())

    assert [row["sequence"] for row in await service.rows("SELECT sequence FROM outbox")] == [1]


async def test_an_event_that_kafka_wouldnt_take_is_refused_where_it_is_emitted(service: Service) -> None:
    with pytest.raises(Invalid, match="at most"):
        async with service.database.begin() as uow:
            uow.emit(service.ours, "model.registered", "model/a", body("x" * 1_000_000))
