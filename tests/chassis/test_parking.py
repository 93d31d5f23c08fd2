"""What waits: parked events and dead letters, and what an operator does with them; each handed over as Kafka would."""

from __future__ import annotations

import asyncio

import pytest

from services.chassis import instruments, parking
from services.chassis.errors import Invalid, NotFound
from services.chassis.upkeep import tell_waiting
from tests.chassis.handled import counted, handling, retry_all, stream, waiting
from tests.chassis.kit import TYPE, Service, dead_letters, event, raw


async def test_later_events_of_a_parked_key_wait_behind_it_and_other_keys_go_on(service: Service) -> None:
    made = handling(service)
    a, b, c = stream(service.ours, counted("a", "b", "c"))
    other = raw(event("other", subject="model/other", sequence=1), service.ours, 3)
    await made.put_aside(a, NotFound("not there yet"), dead=False)
    await made.handle([b, c, other])

    assert await service.effects() == ["other"]
    assert await waiting(service) == [("NotFound", False), ("Conflict", False), ("Conflict", False)]


async def test_what_is_parked_is_handled_in_order_once_it_can_be(service: Service) -> None:
    made = handling(service)
    a, b, c = stream(service.ours, counted("a", "b", "c"))
    service.trouble["a"] = NotFound("not there yet")
    await made.put_aside(a, service.trouble["a"], dead=False)
    await made.handle([b, c])
    await retry_all(made, service)
    assert (service.tried, await service.effects()) == (["a"], [])
    service.trouble.clear()

    await retry_all(made, service)

    assert await service.effects() == ["a", "b", "c"]
    assert await waiting(service) == []


async def test_a_key_that_waits_for_no_one_any_more_is_handled_at_once(service: Service) -> None:
    made = handling(service)
    a, b = stream(service.ours, counted("a", "b"))
    await made.put_aside(a, NotFound("not there yet"), dead=False)
    await retry_all(made, service)
    await made.handle([b])

    assert await service.effects() == ["a", "b"]


async def test_what_fails_again_waits_longer(service: Service) -> None:
    made = handling(service)
    service.trouble["a"] = NotFound("not there yet")
    await made.put_aside(stream(service.ours, counted("a"))[0], service.trouble["a"], dead=False)
    await retry_all(made, service)
    first = await service.rows("SELECT next_attempt_at - now() AS wait FROM parked")
    await retry_all(made, service)
    second = await service.rows("SELECT next_attempt_at - now() AS wait FROM parked")

    assert second[0]["wait"] > first[0]["wait"]


async def test_an_event_that_another_replica_has_handled_meanwhile_isnt_put_aside(service: Service) -> None:
    made = handling(service)
    (a,) = stream(service.ours, counted("a"))
    await made.handle([a])
    await made.put_aside(a, NotFound("not there yet"), dead=False)

    assert await waiting(service) == []


async def test_a_dead_letter_says_why_and_where_it_stood(service: Service) -> None:
    (a,) = stream(service.ours, counted("a"))
    await handling(service).put_aside(a, Invalid("no such metric", where="metric"), dead=True)

    (row,) = await service.rows("SELECT * FROM outbox WHERE topic = $1", dead_letters(service.ours))
    headers = dict(zip(row["header_names"], row["header_values"], strict=True))
    assert (row["key"], row["value"]) == (a.key, a.value)
    assert headers["ce_type"] == TYPE.encode()
    assert headers["dlq_error"] == b"Invalid"
    assert headers["dlq_what"] == b"metric: no such metric"
    assert (headers["dlq_topic"], headers["dlq_offset"]) == (service.ours.name.encode(), b"0")


async def test_later_events_of_a_dead_letters_key_wait_until_it_is_dropped(service: Service) -> None:
    made = handling(service)
    a, b, c = stream(service.ours, counted("a", "b", "c"))
    await made.put_aside(a, Invalid("wrong"), dead=True)
    await made.handle([b, c])
    await retry_all(made, service)
    assert await service.effects() == []

    async with service.database.begin(actor="olga") as uow:
        await parking.drop(uow.connection, await letter(service), actor="olga", reason="it was a test")
    await retry_all(made, service)

    assert await service.effects() == ["b", "c"]
    assert await audited(service) == [("drop", "olga", "it was a test")]


async def test_a_replayed_dead_letter_comes_before_what_waits_behind_it(service: Service) -> None:
    made = handling(service)
    a, b = stream(service.ours, counted("a", "b"))
    await made.put_aside(a, Invalid("wrong"), dead=True)
    await made.handle([b])

    async with service.database.begin(actor="olga") as uow:
        await parking.replay(uow.connection, await letter(service), actor="olga", reason="mended")
    await retry_all(made, service)

    assert await service.effects() == ["a", "b"]
    assert await audited(service) == [("replay", "olga", "mended")]


async def letter(service: Service) -> int:
    rows = await service.rows("SELECT id FROM parked WHERE dead")
    return int(rows[0]["id"])


async def audited(service: Service) -> list[tuple[str, str, str]]:
    rows = await service.rows("SELECT action, actor, reason FROM dead_letter_actions ORDER BY id")
    return [(row["action"], row["actor"], row["reason"]) for row in rows]


async def test_a_dead_letter_that_isnt_there_cant_be_replayed(service: Service) -> None:
    with pytest.raises(NotFound, match="no dead letter 7"):
        await replay(service, 7)


async def replay(service: Service, number: int) -> None:
    async with service.database.begin() as uow:
        await parking.replay(uow.connection, number, actor="olga", reason="mended")


async def test_an_unforeseen_error_is_tried_a_bounded_number_of_times_and_then_dead(service: Service) -> None:
    made = handling(service)
    (a,) = stream(service.ours, counted("a"))
    service.trouble["a"] = NotFound("not there yet")
    await made.put_aside(a, service.trouble["a"], dead=False)
    for _ in range(8):
        await retry_all(made, service)
    assert await waiting(service) == [("NotFound", False)]
    service.trouble["a"] = KeyError("a bug")
    for _ in range(4):
        await retry_all(made, service)
    assert await waiting(service) == [("KeyError", False)]

    await retry_all(made, service)

    assert await waiting(service) == [("KeyError", True)]


async def test_nothing_of_a_failed_retry_stays(service: Service) -> None:
    made = handling(service)
    (a,) = stream(service.ours, counted("a"))
    await made.put_aside(a, NotFound("not there yet"), dead=False)
    service.trouble["a"] = NotFound("still not there")
    await retry_all(made, service)

    assert await service.effects() == []
    assert await service.count("outbox") == 0


async def test_two_replicas_retry_each_event_once(service: Service) -> None:
    made = handling(service)
    for number in range(20):
        one = event(f"{number}", subject=f"model/{number}", sequence=1)
        await made.put_aside(raw(one, service.ours, number), NotFound("not there yet"), dead=False)

    await asyncio.gather(*(retry_all(handling(service), service) for _ in range(4)))

    assert sorted(await service.effects(), key=int) == [f"{number}" for number in range(20)]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Invalid("a NUL \x00 inside"), id="a NUL"),
        pytest.param(Invalid("half a pair \ud800 inside"), id="half a surrogate pair"),
        pytest.param(Invalid("long " * 100_000), id="a sentence without end"),
        pytest.param(KeyError(), id="no sentence"),
    ],
)
async def test_whatever_an_error_says_the_event_can_be_put_aside(service: Service, error: Exception) -> None:
    await handling(service).put_aside(raw(event("a"), service.others, 0), error, dead=True)

    assert await waiting(service) == [(type(error).__name__, True)]


async def test_the_gauges_tell_how_many_wait(service: Service) -> None:
    made = handling(service, "gauges")
    a, b = stream(service.others, [event("a", id="1"), event("b", id="2", subject="model/b")])
    await made.put_aside(a, Invalid("wrong"), dead=True)
    await made.put_aside(b, NotFound("not there yet"), dead=False)
    await tell_waiting("gauges", service.database)

    assert instruments.DEAD_LETTERS.labels("gauges")._value.get() == 1
    assert instruments.PARKED.labels("gauges")._value.get() == 1
