from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import cast

import pytest

from services.chassis.clock import ManualClock, SystemClock
from services.chassis.errors import Unavailable
from services.chassis.leases import Lease, LeaseLost, Leases, on_time
from services.chassis.testing import eventually
from tests.chassis.kit import Service, running

LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=300)


async def expire(service: Service) -> None:
    async with service.database.read() as connection:
        await connection.execute("UPDATE leases SET expires_at = now() - interval '1 second'")


async def test_a_lease_has_one_holder(service: Service) -> None:
    ours, theirs = Leases(service.database, duration=LONG), Leases(service.database, duration=LONG)

    assert await ours.acquire("work") == Lease("work", 1)
    assert await theirs.acquire("work") is None


async def test_renewing_keeps_the_token(service: Service) -> None:
    ours = Leases(service.database, duration=LONG)

    assert await ours.acquire("work") == await ours.acquire("work")


async def test_an_expired_lease_changes_hands_under_a_higher_token(service: Service) -> None:
    ours, theirs = Leases(service.database, duration=LONG), Leases(service.database, duration=LONG)
    await ours.acquire("work")
    await expire(service)

    assert await theirs.acquire("work") == Lease("work", 2)


async def test_a_lease_that_was_given_back_is_free_at_once(service: Service) -> None:
    ours, theirs = Leases(service.database, duration=LONG), Leases(service.database, duration=LONG)
    held = await ours.acquire("work")
    assert held is not None
    await ours.release(held)

    assert await theirs.acquire("work") == Lease("work", 2)


async def test_many_who_ask_at_once_get_each_lease_once(service: Service) -> None:
    names = [f"lane/{number}" for number in range(16)]
    askers = [Leases(service.database, duration=LONG) for _ in range(6)]

    given = await asyncio.gather(*(asker.acquire_all(names) for asker in askers))

    assert sorted(lease.name for leases in given for lease in leases) == sorted(names)


async def write_under(lease: Lease, service: Service) -> None:
    async with service.database.begin() as uow:
        await uow.connection.execute("INSERT INTO effects (what) VALUES ('late')")
        await lease.check(uow.connection)


async def test_what_is_written_under_a_lost_lease_is_undone(service: Service) -> None:
    ours, theirs = Leases(service.database, duration=LONG), Leases(service.database, duration=LONG)
    late = await ours.acquire("work")
    assert late is not None
    await expire(service)
    await theirs.acquire("work")

    with pytest.raises(LeaseLost):
        await write_under(late, service)

    assert await service.effects() == []


async def test_nobody_takes_a_lease_while_a_checked_write_is_in_flight(service: Service) -> None:
    ours, theirs = Leases(service.database, duration=LONG), Leases(service.database, duration=LONG)
    held = await ours.acquire("work")
    assert held is not None
    async with service.database.begin() as uow:
        await held.check(uow.connection)
        asking = asyncio.ensure_future(take_when_expired(service, theirs))
        await eventually(lambda: waits_for_a_lock(service), what="the other's wait")
        assert not asking.done()

    assert await asking is None  # the lease hadn't run out when the write checked it, and hasn't now


async def take_when_expired(service: Service, leases: Leases) -> Lease | None:
    async with service.database.begin() as uow:
        await uow.connection.execute("SELECT 1 FROM leases WHERE name = 'work' FOR UPDATE")
    return await leases.acquire("work")


async def waits_for_a_lock(service: Service) -> bool:
    rows = await service.rows(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(rows)


async def test_leased_work_runs_on_one_replica_and_moves_when_it_stops(service: Service) -> None:
    working: list[str] = []

    def work(who: str) -> Leases:
        return Leases(service.database, duration=SHORT * 10 if who == "first" else SHORT)

    async def hold(who: str) -> None:
        async def forever(_: Lease) -> None:
            working.append(who)
            await asyncio.Event().wait()

        await work(who).run("work", forever)

    async with running(lambda: hold("first")):
        await eventually(lambda: as_async(working == ["first"]), what="the first one's work")
        async with running(lambda: hold("second")):
            expires = await expiry(service)
            await eventually(lambda: is_renewed(service, expires), what="two renewals")
            assert working == ["first"]
    async with running(lambda: hold("third")):
        await eventually(lambda: as_async(working == ["first", "third"]), what="the third one's work")


async def expiry(service: Service) -> datetime:
    (lease,) = await service.rows("SELECT expires_at FROM leases")
    return cast("datetime", lease["expires_at"])


async def is_renewed(service: Service, before: datetime) -> bool:
    """Whether a lease of ten times SHORT, a third of which passes between renewals, was renewed twice."""
    return await expiry(service) - before > SHORT * 5


async def as_async(value: object) -> object:
    return value


async def test_work_is_cancelled_when_its_lease_is_lost(service: Service) -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def forever(_: Lease) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(lambda: Leases(service.database, duration=SHORT).run("work", forever)):
        await started.wait()
        async with service.database.read() as connection:
            await connection.execute("UPDATE leases SET holder = 'another', token = 9, expires_at = now() + '1 minute'")
        async with asyncio.timeout(20):
            await ended.wait()


async def test_a_database_that_is_away_for_a_moment_costs_no_lease(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(service.database, duration=SHORT * 10)  # a busy machine may stand still for a second
    lease = await leases.acquire("work")
    assert lease is not None
    real, asked = leases.acquire, 0

    async def away_once(name: str) -> Lease | None:
        nonlocal asked
        asked += 1
        return await real(name) if asked > 1 else await unavailable()

    monkeypatch.setattr(leases, "acquire", away_once)
    async with running(lambda: leases._renew(lease)) as (renewing,):
        await eventually(lambda: as_async(asked >= 3), what="three renewals")
        assert not renewing.done()


async def unavailable() -> Lease | None:
    raise Unavailable("the database doesn't answer")


async def test_work_that_ends_is_begun_again(service: Service) -> None:
    begun: list[int] = []

    async def once(lease: Lease) -> None:
        begun.append(lease.token)
        raise RuntimeError("it failed in its own way")

    async with running(lambda: Leases(service.database, duration=SHORT).run("work", once)):
        await eventually(lambda: as_async(len(begun) >= 2), what="a second try")

    assert begun[:2] == [1, 2]


async def test_a_clock_that_agrees_with_the_databases_is_right(service: Service) -> None:
    await on_time(service.database, SystemClock())()


@pytest.mark.parametrize(
    ("wrong", "said"), [(timedelta(hours=1), "3,600 s ahead of"), (timedelta(seconds=-90), "90 s behind")]
)
async def test_a_clock_that_differs_from_the_databases_is_not_right(
    service: Service, wrong: timedelta, said: str
) -> None:
    clock = ManualClock(SystemClock().now() + wrong)
    with pytest.raises(Unavailable, match=f"our clock is {said} the database's"):
        await on_time(service.database, clock)()
