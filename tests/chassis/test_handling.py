"""What becomes of events, without a broker: each is handed over as Kafka would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.ingest.v1.events_pb2 import EventRejected, OutcomeRecorded, ProjectStarted
from services.chassis import instruments, parking
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import UnitOfWork
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.fates import DeadLetterLimit, Fate, fate_of
from services.chassis.handling import Handling
from services.chassis.leases import LeaseLost
from services.chassis.parking import Raw
from services.chassis.testing import eventually
from services.chassis.topics import Topic
from tests.chassis.kit import TYPE, Service, dead_letters, event, raw


def handling(service: Service, name: str = "test") -> Handling[UnitOfWork]:
    made = Handling(name, [service.ours, service.others], service.database, service.ours)
    made.on(TYPE, ProjectStarted, service.handle)
    return made


def stream(topic: Topic, events: Sequence[CloudEvent], *, start: int = 0) -> list[Raw]:
    return [raw(one, topic, start + number) for number, one in enumerate(events)]


def counted(*names: str, subject: str = "model/credit") -> list[CloudEvent]:
    return [event(name, subject=subject, sequence=number) for number, name in enumerate(names, 1)]


async def retry_all(made: Handling[UnitOfWork], service: Service) -> None:
    """Try what is parked until nothing is due, as if its time had come."""
    async with service.database.read() as connection:
        await connection.execute("UPDATE parked SET next_attempt_at = now() - interval '1 second'")
    while await made.retry_one():
        pass


async def waiting(service: Service) -> list[tuple[str, bool]]:
    rows = await service.rows("SELECT error, dead FROM parked ORDER BY id")
    return [(row["error"], row["dead"]) for row in rows]


async def rejections(service: Service) -> list[EventRejected]:
    rows = await service.rows("SELECT value FROM outbox WHERE topic = $1 ORDER BY id", service.ours.name)
    found = [EventRejected.FromString(row["value"]) for row in rows]
    return [one for one in found if one.topic]


async def test_an_event_that_comes_twice_has_one_effect(service: Service) -> None:
    made = handling(service)
    once = stream(service.ours, counted("a", "b"))
    await made.handle(once)
    await made.handle(once)
    await made.handle([*once, *once])

    assert await service.effects() == ["a", "b"]


async def test_an_event_of_others_that_comes_twice_has_one_effect_wherever_it_stands(service: Service) -> None:
    made = handling(service)
    same = event("a", id="1")
    await made.handle(stream(service.others, [same, same]))
    await made.handle([raw(same, service.others, 9, partition=1)])

    assert await service.effects() == ["a"]


async def test_an_older_event_of_ours_has_no_effect_after_a_newer_one(service: Service) -> None:
    made = handling(service)
    a, b, c = stream(service.ours, counted("a", "b", "c"))
    await made.handle([a, c])
    await made.handle([b])

    assert await service.effects() == ["a", "c"]


async def test_a_jump_in_a_sequence_is_counted(service: Service) -> None:
    before = instruments.SEQUENCE_GAPS.labels("gaps")._value.get()
    a, _, _, d = stream(service.ours, counted("a", "b", "c", "d"))
    await handling(service, "gaps").handle([a, d])

    assert instruments.SEQUENCE_GAPS.labels("gaps")._value.get() - before == 2


async def test_a_sequence_that_another_system_writes_counts_for_nothing(service: Service) -> None:
    older, newer = event("older", id="1", sequence=1), event("newer", id="2", sequence=2)
    await handling(service).handle(stream(service.others, [newer, older]))

    assert await service.effects() == ["newer", "older"]


async def test_each_aggregate_and_each_source_is_counted_for_itself(service: Service) -> None:
    events = [
        event("a", subject="model/a", sequence=1),
        event("b", subject="model/b", sequence=1),
        event("c", subject="model/a", sequence=1, source="goldenpath/another"),
    ]
    await handling(service).handle(stream(service.ours, events))

    assert await service.effects() == ["a", "b", "c"]


async def test_a_type_that_nobody_handles_still_moves_the_sequence(service: Service) -> None:
    made = handling(service)
    skipped, taken = counted("skipped", "taken")
    await made.handle(stream(service.ours, [event("skipped", sequence=1, type="model.unheard_of")]))
    await made.handle(stream(service.ours, [skipped, taken], start=1))

    assert await service.effects() == ["taken"]


@pytest.mark.parametrize("kind", ["ours", "others"])
async def test_two_replicas_with_the_same_event_at_once_have_one_effect(service: Service, kind: str) -> None:
    topic: Topic = getattr(service, kind)
    same = stream(topic, [event("a", sequence=1, id="1")])
    service.hold = asyncio.Event()
    first = asyncio.ensure_future(handling(service).handle(same))
    await eventually(lambda: true(service.tried == ["a"]), what="the first one's handler")
    second = asyncio.ensure_future(handling(service).handle(same))
    await eventually(lambda: waits_for_a_lock(service), what="the second one's wait")
    service.hold.set()
    await asyncio.gather(first, second)

    assert (await service.effects(), service.tried) == (["a"], ["a"])


async def true(value: object) -> object:
    return value


async def waits_for_a_lock(service: Service) -> bool:
    return bool(
        await service.rows(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


async def test_a_batch_in_which_one_fails_leaves_nothing(service: Service) -> None:
    service.trouble["b"] = NotFound("not there yet")

    with pytest.raises(NotFound):
        await handling(service).handle(stream(service.ours, counted("a", "b", "c")))

    assert await service.effects() == []
    assert await service.count("outbox") == 0


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (Invalid("x"), Fate.DEAD),
        (Denied("x"), Fate.DEAD),
        (NotFound("x"), Fate.PARK),
        (Conflict("x"), Fate.PARK),
        (Unavailable("x"), Fate.PAUSE),
        (LeaseLost("x"), Fate.PAUSE),
        (KeyError("x"), Fate.RETRY),
    ],
)
def test_an_errors_type_says_an_events_fate(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate


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


async def test_nothing_waits_behind_a_dead_letter_of_others_and_its_publisher_is_told(service: Service) -> None:
    made = handling(service)
    wrong, fine = stream(service.others, [event("wrong", id="1"), event("fine", id="2")])
    await made.put_aside(wrong, Invalid("no such metric", where="metric", fix="name one"), dead=True)
    await made.handle([fine])

    assert await service.effects() == ["fine"]
    (told,) = await rejections(service)
    assert (told.event_id, told.event_type, told.topic, told.offset) == ("1", TYPE, service.others.name, 0)
    assert (told.error, told.what, told.where, told.fix) == ("Invalid", "no such metric", "metric", "name one")


async def test_an_unforeseen_error_tells_the_publisher_no_detail(service: Service) -> None:
    (wrong,) = stream(service.others, [event("wrong")])
    await handling(service).put_aside(wrong, KeyError("password=hunter2"), dead=True)

    (told,) = await rejections(service)
    assert (told.error, told.what) == ("Unknown", "the event can't be handled")


async def test_an_event_nobody_can_read_is_dead_and_its_publisher_is_told_where_it_stood(service: Service) -> None:
    made = handling(service)
    unreadable = Raw(service.others.name, 1, 5, None, [("ce_id", b"\xff")], b"?")
    await made.put_aside(unreadable, Invalid("the header isn't UTF-8", where="ce_id"), dead=True)
    await made.put_aside(unreadable, Invalid("the header isn't UTF-8", where="ce_id"), dead=True)

    (told,) = await rejections(service)
    assert (told.event_id, told.partition, told.offset, told.where) == ("", 1, 5, "ce_id")
    assert await waiting(service) == [("Invalid", True)]


async def test_a_parked_event_of_others_that_dies_frees_its_key_and_tells_its_publisher(service: Service) -> None:
    made = handling(service)
    a, b = stream(service.others, [event("a", id="1"), event("b", id="2")])
    await made.put_aside(a, NotFound("not there yet"), dead=False)
    await made.handle([b])
    service.trouble["a"] = Invalid("wrong after all")
    await retry_all(made, service)

    assert await service.effects() == ["b"]
    assert await waiting(service) == [("Invalid", True)]
    assert [told.event_id for told in await rejections(service)] == ["1"]


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


async def test_a_number_that_isnt_finite_is_refused_on_others_topics(service: Service) -> None:
    made = handling(service)
    seen: list[Any] = []

    async def keep(received: Any, _: UnitOfWork) -> None:
        seen.append(received.body.value)

    made.on("outcome.recorded", OutcomeRecorded, keep)
    data = OutcomeRecorded(model="credit", value=float("nan")).SerializeToString()
    nan = event("", type="outcome.recorded", data=data, dataschema="goldenpath.ingest.v1.OutcomeRecorded")

    with pytest.raises(Invalid, match="not a finite number"):
        await made.handle([raw(nan, service.others, 0)])
    assert seen == []


async def test_an_event_that_a_handler_emits_is_told_in_its_actors_name(service: Service) -> None:
    events = [event("a", sequence=1, actor="ada"), event("b", sequence=2, actor="grace")]
    await handling(service).handle(stream(service.ours, events))

    assert await told_actors(service) == [b"ada", b"grace"]


async def test_an_actor_that_others_claim_isnt_passed_on_as_a_fact(service: Service) -> None:
    await handling(service).handle(stream(service.others, [event("a", actor="the-chief-risk-officer")]))

    assert await told_actors(service) == [b""]


async def told_actors(service: Service) -> list[bytes]:
    rows = await service.rows("SELECT header_names, header_values FROM outbox ORDER BY id")
    return [dict(zip(row["header_names"], row["header_values"], strict=True)).get("ce_actor", b"") for row in rows]


async def test_what_others_choose_to_call_an_event_becomes_no_label(service: Service) -> None:
    before = instruments.CONSUMED.labels("labels", "other", "skipped")._value.get()
    await handling(service, "labels").handle(stream(service.others, [event("a", type="x" * 900)]))

    assert instruments.CONSUMED.labels("labels", "other", "skipped")._value.get() - before == 1


async def test_the_gauges_tell_how_many_wait(service: Service) -> None:
    made = handling(service, "gauges")
    a, b = stream(service.others, [event("a", id="1"), event("b", id="2", subject="model/b")])
    await made.put_aside(a, Invalid("wrong"), dead=True)
    await made.put_aside(b, NotFound("not there yet"), dead=False)
    await made.count_waiting()

    assert instruments.DEAD_LETTERS.labels("gauges")._value.get() == 1
    assert instruments.PARKED.labels("gauges")._value.get() == 1


async def test_an_id_is_forgotten_when_its_topic_doesnt_keep_the_event_any_more(service: Service) -> None:
    brief = replace(service.others, kept=timedelta(days=7))
    made = Handling("test", [service.ours, brief], service.database, service.ours)
    await made.handle(stream(brief, [event("a", id="old"), event("b", id="lingers"), event("c", id="new")]))
    await made.handle(stream(service.ours, [event("d", id="forever")]))
    async with service.database.begin() as uow:
        await uow.connection.execute(
            """UPDATE inbox_ids SET seen_at = now() - CASE id WHEN 'old' THEN interval '22 days'
                                                              WHEN 'lingers' THEN interval '8 days'
                                                              WHEN 'forever' THEN interval '900 days'
                                                              ELSE interval '0' END"""
        )
    await made.purge_inbox()

    rows = await service.rows("SELECT id FROM inbox_ids ORDER BY id")
    assert [row["id"] for row in rows] == ["forever", "lingers", "new"]


def test_the_limit_is_a_share_of_the_last_events_and_not_a_few_bad_ones() -> None:
    limit = DeadLetterLimit()
    remember(limit, died=19, lived=0)
    assert limit.exceeded() == ""
    remember(limit, died=1, lived=0)
    assert limit.exceeded() == "20 of its last 20 events became dead letters"
    remember(limit, died=0, lived=21)
    assert limit.exceeded() == ""


def remember(limit: DeadLetterLimit, *, died: int, lived: int) -> None:
    for _ in range(died):
        limit.remember(died=True)
    for _ in range(lived):
        limit.remember(died=False)


def test_an_error_reads_as_a_sentence_with_its_place_and_what_to_do() -> None:
    assert str(GoldenpathError("isn't there", where="model", fix="register it")) == "model: isn't there (register it)"
