from __future__ import annotations

import asyncio

from services.chassis.testing import eventually
from services.chassis.watching import Changes
from tests.chassis.kit import Service, running


async def notify(service: Service, channel: str) -> None:
    async with service.database.begin() as uow:
        await uow.connection.execute("SELECT pg_notify($1, '')", channel)


async def listeners(service: Service) -> int:
    rows = await service.rows(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    return len(rows)


async def test_a_change_wakes_every_watcher_over_one_connection(service: Service) -> None:
    changes = Changes(service.database, "told")
    async with running(changes.run):
        await eventually(lambda: listeners(service), what="a listener")
        watchers = [asyncio.ensure_future(changes.begin().wait()) for _ in range(50)]
        await notify(service, "told")
        async with asyncio.timeout(20):
            await asyncio.gather(*watchers)
        assert await listeners(service) == 1

    await eventually(lambda: nobody_listens(service), what="the connection's end")


async def nobody_listens(service: Service) -> bool:
    return await listeners(service) == 0


async def test_a_change_between_looking_and_waiting_isnt_missed(service: Service) -> None:
    changes = Changes(service.database, "told")
    async with running(changes.run):
        await eventually(lambda: listeners(service), what="a listener")
        looking = changes.begin()
        await notify(service, "told")
        await eventually(lambda: is_set(looking), what="the change")
        async with asyncio.timeout(20):
            await looking.wait()

        assert not changes.begin().is_set()


async def is_set(event: asyncio.Event) -> bool:
    return event.is_set()
