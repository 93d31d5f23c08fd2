"""What becomes of events, without a broker: each is handed over as Kafka would."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from goldenpath.ingest.v1.events_pb2 import OutcomeRecorded
from services.chassis import instruments
from services.chassis.database import UnitOfWork
from services.chassis.errors import Invalid, NotFound
from services.chassis.handling import Handling
from services.chassis.testing import eventually
from services.chassis.topics import Topic
from tests.chassis.handled import counted, handling, stream
from tests.chassis.kit import Service, event, raw


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
