"""Publishers of other systems learn why an event of theirs was refused."""

from __future__ import annotations

from services.chassis.errors import Invalid, NotFound
from services.chassis.parking import Raw
from tests.chassis.handled import handling, rejections, retry_all, stream, waiting
from tests.chassis.kit import TYPE, Service, event


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
