"""What counts toward the dead-letter limit, so that a bad release buries no topic and a bad publisher stops nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis import cloudevents, parking, publishers
from services.chassis.cloudevents import CloudEvent, Headers
from services.chassis.errors import Invalid, NotFound
from services.chassis.parking import Raw
from tests.chassis.handled import hand_over, handling, retry_all, stream
from tests.chassis.kit import SOURCE, Service, event

STOPS_AT = 20
UNREADABLE = b"\xff\xff"


def of_others(name: str, count: int = 40, **more: Any) -> list[CloudEvent]:
    return [
        event(f"{name} {number}", id=f"{name} {number}", subject=f"model/{number}", **more) for number in range(count)
    ]


def of_ours(*keys: str, times: int = 1, **more: Any) -> list[CloudEvent]:
    return [
        event(f"{key} {sequence}", subject=f"model/{key}", sequence=sequence, **more)
        for sequence in range(1, times + 1)
        for key in keys
    ]


async def dead(service: Service) -> int:
    return await service.count("parked WHERE dead")


@pytest.fixture
def reads_nothing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A release that can't read a body any more, from the moment on that a test says so."""

    def refuse(*_: object) -> None:
        raise Invalid("this release reads no event")

    return lambda: monkeypatch.setattr(cloudevents, "body", refuse)


async def test_a_release_that_cant_read_others_events_is_stopped(service: Service, reads_nothing: Any) -> None:
    await hand_over(handling(service), stream(service.others, of_others("before", 1)))
    reads_nothing()
    made = handling(service)
    await hand_over(made, stream(service.others, of_others("after"), start=1))

    assert made.limit.exceeded() == f"20 of the last 20 events on {service.others.name} became dead letters"
    assert await dead(service) == STOPS_AT


async def test_a_release_that_cant_read_envelopes_is_stopped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await hand_over(handling(service), stream(service.others, of_others("before", 1)))

    def refuse(*_: object) -> None:
        raise Invalid("this release reads no envelope")

    monkeypatch.setattr(cloudevents, "read", refuse)
    made = handling(service)
    await hand_over(made, stream(service.others, of_others("after"), start=1))

    assert made.limit.exceeded()
    assert await dead(service) == STOPS_AT


async def test_a_publisher_that_never_wrote_what_can_be_read_stops_nobody(service: Service) -> None:
    made = handling(service)
    await hand_over(made, stream(service.others, of_others("other", 1)))
    await hand_over(handling(service), stream(service.others, of_others("bad", data=UNREADABLE, source="a stranger")))

    assert made.limit.exceeded() == ""
    assert await dead(service) == 40


async def test_a_publisher_that_goes_wrong_while_we_run_stops_nobody(service: Service) -> None:
    made = handling(service)
    await hand_over(made, stream(service.others, of_others("good", 1)))
    await hand_over(made, stream(service.others, of_others("bad", data=UNREADABLE), start=1))

    assert made.limit.exceeded() == ""
    assert await dead(service) == 40


async def test_a_publisher_whose_letter_was_dropped_stops_nobody(service: Service) -> None:
    await hand_over(handling(service), stream(service.others, of_others("good", 1)))
    await hand_over(handling(service), stream(service.others, of_others("bad", data=UNREADABLE), start=1))
    async with service.database.begin(actor="olga") as uow:
        (first, *_) = await parking.list_dead(uow.connection, after=0, limit=1)
        row = await parking.drop(uow.connection, first["id"], actor="olga", reason="they write nonsense")
        await publishers.forget(uow.connection, parking.raw_of(row), consumer=row["consumer"])
    made = handling(service)
    await hand_over(made, stream(service.others, of_others("more", data=UNREADABLE), start=50))

    assert made.limit.exceeded() == ""


async def test_what_another_writes_on_our_topic_stops_nobody(service: Service) -> None:
    made = handling(service)
    keys = [f"{number}" for number in range(40)]
    await hand_over(made, stream(service.ours, of_ours(*keys, data=UNREADABLE, source="an intruder")))

    assert made.limit.exceeded() == ""


@pytest.mark.parametrize("data", [pytest.param(UNREADABLE, id="unreadable"), pytest.param(None, id="refused")])
async def test_what_our_own_service_wrote_and_dies_stops_the_consumer(service: Service, data: bytes | None) -> None:
    made = handling(service)
    keys = [f"{number}" for number in range(40)]
    service.trouble = {f"{key} 1": Invalid("nothing can be handled") for key in keys}
    more: dict[str, Any] = {"source": f"goldenpath/{service.ours.owner}"} | ({"data": data} if data else {})
    await hand_over(made, stream(service.ours, of_ours(*keys, **more)))

    assert made.limit.exceeded()
    assert await dead(service) == STOPS_AT


async def test_what_waits_is_skipped_or_comes_twice_hides_no_death(service: Service) -> None:
    made = handling(service)
    keys = [f"{number}" for number in range(40)]
    service.trouble = {f"{key} 1": Invalid("nothing can be handled") for key in keys}
    skipped = stream(service.ours, of_ours(*keys, type="model.unheard_of", source="goldenpath/else"))
    for number, one in enumerate(stream(service.ours, of_ours(*keys), start=100)):
        behind = stream(service.ours, of_ours(keys[number], times=9)[1:], start=200 + 10 * number)
        await hand_over(made, [one, *behind, *behind, skipped[number]])

    assert made.limit.exceeded()
    assert await dead(service) == STOPS_AT


async def test_what_was_parked_and_dies_when_it_is_tried_again_counts(service: Service) -> None:
    made = handling(service)
    await park(service, "a", count=40)
    service.trouble = dict.fromkeys(service.trouble, Invalid("nothing can be handled"))
    await retry_all(made, service)

    assert made.limit.exceeded()
    assert await dead(service) == STOPS_AT


async def test_what_an_operator_replays_in_vain_doesnt_count(service: Service) -> None:
    made = handling(service)
    await bury(service, "a", count=30)
    await replay_all(service)
    await retry_all(made, service)

    assert made.limit.exceeded() == ""
    assert await dead(service) == 30


async def test_once_stopped_only_what_an_operator_replays_is_tried(service: Service) -> None:
    made = handling(service)
    await bury(service, "a", count=1)
    await park(service, "b", count=1, start=50)
    service.trouble.clear()
    made.limit.remember(service.others.name, died=True, events=STOPS_AT)
    await replay_all(service)
    await retry_all(made, service)

    assert await service.effects() == ["a 0"]


async def park(service: Service, name: str, *, count: int, start: int = 0) -> None:
    await put_aside(service, name, NotFound("not there yet"), count=count, start=start)


async def bury(service: Service, name: str, *, count: int) -> None:
    await put_aside(service, name, Invalid("nothing can be handled"), count=count)


async def put_aside(service: Service, name: str, error: Exception, *, count: int, start: int = 0) -> None:
    """Let an earlier process put events aside."""
    for number, one in enumerate(stream(service.others, of_others(name, count), start=start)):
        service.trouble[f"{name} {number}"] = error
        await hand_over(handling(service), [one])


async def replay_all(service: Service) -> None:
    async with service.database.begin(actor="olga") as uow:
        for row in await parking.list_dead(uow.connection, after=0, limit=100):
            await parking.replay(uow.connection, row["id"], actor="olga", reason="it was mended")


# What an unreadable event claims

names = st.sampled_from(["ce_source", "ce_type", "content-type", "x"])
texts = st.one_of(st.binary(max_size=40), st.just(b"application/cloudevents+json"))
claims = st.dictionaries(st.sampled_from(["source", "type"]), st.one_of(st.none(), st.text(max_size=9), st.integers()))
values = st.one_of(st.none(), st.binary(max_size=60), claims.map(lambda one: json.dumps(one).encode()))


@settings(deadline=None)
@given(headers=st.lists(st.tuples(names, texts), max_size=6), value=values)
def test_whatever_an_event_is_its_claims_are_texts_that_a_row_can_hold(
    headers: Sequence[tuple[str, bytes]], value: bytes | None
) -> None:
    source, type_name = publishers.claimed(Raw("topic", 0, 0, None, headers, value))

    assert "\x00" not in source + type_name
    assert (source + type_name).encode().decode() == source + type_name
    assert max(len(source), len(type_name)) <= cloudevents.LONGEST_ATTRIBUTE


@pytest.mark.parametrize(
    ("headers", "value", "claims"),
    [
        pytest.param([("ce_source", b"them"), ("ce_type", b"a.b")], b"\xff", ("them", "a.b"), id="headers"),
        pytest.param(
            [("content-type", b"application/cloudevents+json")],
            json.dumps({"source": SOURCE, "type": "a.b", "data": 7}).encode(),
            (SOURCE, "a.b"),
            id="structured",
        ),
        pytest.param([("content-type", b"application/cloudevents+json")], b"[" * 9000, ("", ""), id="deep"),
        pytest.param([("content-type", b"application/cloudevents+json")], b"[]", ("", ""), id="a list"),
        pytest.param([("ce_source", b"a\x00b"), ("ce_type", b"y" * 2000)], None, ("", ""), id="no texts"),
        pytest.param([], None, ("", ""), id="nothing"),
    ],
)
def test_an_unreadable_event_still_says_whose_it_claims_to_be(
    headers: Headers, value: bytes | None, claims: tuple[str, str]
) -> None:
    assert publishers.claimed(Raw("topic", 0, 0, None, headers, value)) == claims
