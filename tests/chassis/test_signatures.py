"""Signed events: who caused them is proven, and whatever was changed on the way is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

import golden
from services.chassis import cloudevents
from services.chassis.cloudevents import CloudEvent, headers_of
from services.chassis.errors import Denied, Invalid, Unavailable
from services.chassis.handling import Handling
from services.chassis.routes import Received
from services.chassis.signatures import Signers, signature_of
from services.chassis.testing import Signer, signers_of
from tests.chassis.handled import hand_over, stream
from tests.chassis.kit import NOON, TYPE, Service, body, event, raw

ADA = Signer("ada")
GRACE = Signer("grace")
ATTRIBUTES = {"id": "1", "source": "airflow", "type": TYPE, "subject": "", "time": NOON.isoformat(), "actor": "ada"}


@pytest.fixture
def signers(tmp_path: Path) -> Signers:
    return Signers(signers_of(tmp_path, ADA, GRACE))


def signed(signer: Signer = ADA, **more: Any) -> CloudEvent:
    return signer.sign(event("credit", actor="ada", **more))


def over_the_wire(made: CloudEvent) -> CloudEvent:
    return cloudevents.read(headers_of(made), made.data)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), Ed25519PrivateKey.generate()])
def test_a_signature_of_either_kind_proves_who_caused_an_event(tmp_path: Path, key: Any) -> None:
    ada = Signer("ada", key)

    assert Signers(signers_of(tmp_path, ada)).proves(over_the_wire(signed(ada)))


def test_an_event_without_a_signature_proves_nothing(signers: Signers) -> None:
    assert not signers.proves(event("credit", actor="ada"))


def test_where_nobodys_signatures_count_they_prove_nothing() -> None:
    assert not Signers(None).proves(signed())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": body("fraud").SerializeToString()}, id="another body"),
        pytest.param({"id": "another"}, id="another id"),
        pytest.param({"source": "elsewhere"}, id="another source"),
        pytest.param({"type": "training.completed"}, id="another type"),
        pytest.param({"subject": "model/fraud"}, id="another subject"),
        pytest.param({"time": NOON + timedelta(microseconds=1)}, id="another time"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(signers: Signers, change: dict[str, Any]) -> None:
    with pytest.raises(Denied, match="of another event, or by another key"):
        signers.proves(over_the_wire(replace(signed(), **change)))


def test_an_actor_was_put_in_place_of_the_signers(signers: Signers) -> None:
    with pytest.raises(Denied, match="speaks for ada, not for grace"):
        signers.proves(replace(signed(), actor="grace"))


@pytest.mark.parametrize(("signer", "actor"), [(GRACE, "ada"), (ADA, "")])
def test_nobody_speaks_for_somebody_else(signers: Signers, signer: Signer, actor: str) -> None:
    with pytest.raises(Denied, match=f"not for {actor or 'nobody'}"):
        signers.proves(signer.sign(event("credit", actor=actor)))


def test_another_key_under_a_known_name_is_refused(signers: Signers) -> None:
    forger = Signer("ada")
    forger.key_id = ADA.key_id

    with pytest.raises(Denied, match="of another event, or by another key"):
        signers.proves(signed(forger))


def test_a_key_that_isnt_known_is_refused(signers: Signers) -> None:
    with pytest.raises(Denied, match="a key that isn't known here"):
        signers.proves(signed(Signer("ada")))


def test_a_key_that_speaks_for_nobody_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "signers.json"
    path.write_text(json.dumps({"keys": [{name: text for name, text in ADA.public().items() if name != "sub"}]}))

    with pytest.raises(Denied, match="speaks for nobody"):
        Signers(path).proves(signed())


def test_a_token_of_the_same_key_is_no_signature(signers: Signers) -> None:
    token = jwt.encode({"sub": "ada"}, ADA.pem, algorithm="ES256", headers={"kid": ADA.key_id})

    with pytest.raises(Denied):
        signers.proves(replace(signed(), signature=token))


@given(st.text(max_size=60))
def test_any_text_is_no_signature(text: str) -> None:
    known = Signers(Path(__file__).with_name("nothing.json"))
    with pytest.raises((Denied, Unavailable)):
        known.proves(replace(signed(), signature=text or "."))


def test_a_time_in_another_zone_is_the_same_time(signers: Signers) -> None:
    made = signed()
    there = made.time.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert signers.proves(replace(made, time=there))


def structured(made: CloudEvent, **body: Any) -> bytes:
    attributes = {
        name.removeprefix("ce_"): value.decode() for name, value in headers_of(made) if name.startswith("ce_")
    }
    return json.dumps({**attributes, "datacontenttype": made.content_type, **body}).encode()


def test_a_structured_event_is_signed_too(signers: Signers) -> None:
    made = signed()
    value = structured(made, data_base64=base64.b64encode(made.data).decode())
    found = cloudevents.read([("content-type", cloudevents.STRUCTURED.encode())], value)

    assert signers.proves(found)
    with pytest.raises(Denied):
        signers.proves(replace(found, data=b"{}"))


def test_a_signed_structured_event_carries_the_bytes_that_were_signed() -> None:
    value = structured(signed(), data={"project": "credit"})
    with pytest.raises(Invalid, match="send data_base64"):
        cloudevents.read([("content-type", cloudevents.STRUCTURED.encode())], value)


def test_keys_that_cant_be_read_are_everybodys_trouble(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"signers\.json can't be read"):
        Signers(tmp_path / "signers.json").proves(signed())


def test_a_key_that_was_added_counts_from_then_on(tmp_path: Path, signers: Signers) -> None:
    newcomer = Signer("ada")
    with pytest.raises(Denied):
        signers.proves(signed(newcomer))
    signers_of(tmp_path, ADA, newcomer)

    assert signers.proves(signed(newcomer))


def test_a_publisher_signs_with_what_it_has(signers: Signers) -> None:
    signature = golden.signature_of(ATTRIBUTES, b"the body", key=ADA.pem, key_id=ADA.key_id)
    made = replace(event("credit"), id="1", source="airflow", subject="", actor="ada", data=b"the body")

    assert signers.proves(replace(made, signature=signature))


@pytest.mark.parametrize(
    ("attributes", "where"),
    [
        pytest.param({"id": "1"}, "ce_source", id="an attribute is missing"),
        pytest.param(ATTRIBUTES | {"actor": "ada\ngrace"}, "ce_signature", id="a line break"),
    ],
)
def test_what_cant_be_signed_is_said(attributes: dict[str, str], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        signature_of(attributes, b"", key=ADA.pem, key_id="1")

    assert refused.value.where == where


def test_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(Invalid, match="neither ES256 nor EdDSA"):
        signature_of(ATTRIBUTES, b"", key=key, key_id="1")


@pytest.fixture
def handling(service: Service, signers: Signers) -> Callable[[Any], Handling[Any]]:
    def make(handle: Any) -> Handling[Any]:
        topics = [service.ours, service.others]
        made: Handling[Any] = Handling("test", topics, service.database, service.ours, signers=signers)
        made.on(TYPE, type(body()), handle)
        return made

    return make


async def test_a_handler_is_told_whether_the_actor_is_proven(
    service: Service, handling: Callable[[Any], Handling[Any]]
) -> None:
    seen: list[tuple[str, bool, str]] = []

    async def note(received: Received[Any], uow: Any) -> None:
        seen.append((received.event.id, received.proven, uow.actor))

    claim, ours = event("credit", id="claim", actor="ada"), event("credit", id="ours", actor="ada", sequence=1)
    await handling(note).handle(
        [
            raw(signed(id="proof"), service.others, 0),
            raw(claim, service.others, 1),
            raw(ours, service.ours, 0),
        ]
    )

    assert seen == [("proof", True, "ada"), ("claim", False, ""), ("ours", True, "ada")]


async def test_an_event_with_a_false_signature_is_dead_and_its_publisher_is_told(
    service: Service, handling: Callable[[Any], Handling[Any]]
) -> None:
    made = handling(service.handle)
    forged = raw(replace(signed(), subject="model/fraud"), service.others, 0)
    with pytest.raises(Denied) as refused:
        await made.handle([forged])
    await made.put_aside(forged, refused.value, dead=True)

    assert await service.effects() == []
    (letter,) = await service.rows("SELECT error, what FROM parked WHERE dead")
    assert letter["error"] == "Denied"
    (told,) = await service.rows("SELECT value FROM outbox WHERE topic = $1", service.ours.name)
    assert b"ce_signature" in told["value"]


async def test_false_signatures_of_whoever_never_wrote_before_dont_stop_the_consumer(
    service: Service, handling: Callable[[Any], Handling[Any]]
) -> None:
    made = handling(service.handle)
    forged = [replace(signed(), id=f"{number}", subject="model/fraud", source="a stranger") for number in range(30)]
    await hand_over(made, stream(service.others, forged))

    assert made.limit.exceeded() == ""
    assert await service.count("parked WHERE dead") == 30
