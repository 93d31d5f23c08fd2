"""Signatures of events: where anybody may write a topic, one proves who caused an event (`ce_actor`).

`ce_signature` is a detached JSON Web Signature (RFC 7515, appendix F; RFC 7797: "b64": false), ES256 or EdDSA, over
seven lines of UTF-8 with a line feed between them and none behind the last:

    ce_id
    ce_source
    ce_type
    ce_subject
    ce_time          in UTC with microseconds: 2026-03-01T12:00:00.000000Z
    ce_actor
    the SHA-256 of the body's bytes, 64 hex digits

The signers' public keys are a JSON Web Key Set; beside its `kid`, each key has the `sub` that it may speak for, which
must be ce_actor. In structured mode the body of a signed event is in `data_base64`, since JSON has many spellings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.chassis.cloudevents import CloudEvent
from services.chassis.errors import Denied, Invalid
from services.chassis.keys import PublicKey, PublicKeys

_ALGORITHMS: Final = ["ES256", "EdDSA"]  # asymmetric only: whoever can check a signature must not be able to make one
_SIGNED: Final = ("id", "source", "type", "subject", "time", "actor")


class Signers:
    """Whose signatures count.

    Args:
        path: Their public keys, a JSON Web Key Set; None: none does, and every actor on others' topics is a claim.
    """

    def __init__(self, path: Path | None) -> None:
        self._keys = PublicKeys(path) if path is not None else None

    def proves(self, event: CloudEvent) -> bool:
        """True where an event's signature proves its actor; False where it carries none, and the actor is a claim.

        Raises:
            Denied: it carries one that doesn't: of another event, by a key that isn't known, or for somebody else.
            Unavailable: the keys can't be read.
        """
        if not event.signature or self._keys is None:
            return False
        signer = self._keys.find(_key_id(event.signature))
        if signer is None:
            raise _refused("it was made by a key that isn't known here")
        if signer.speaks_for != event.actor:
            raise _refused(f"its key speaks for {signer.speaks_for or 'nobody'}, not for {event.actor or 'nobody'}")
        _check(event, signer)
        return True


def signature_of(attributes: Mapping[str, str], body: bytes, *, key: bytes, key_id: str) -> str:
    """What a publisher puts into ce_signature.

    Args:
        attributes: The event's id, source, type, subject, time (RFC 3339) and actor, named without `ce_`.
        body: The event's body, byte for byte as it is sent.
        key: The private key in PEM: on P-256 for ES256, or Ed25519 for EdDSA.
        key_id: The `kid` under which its public key is known.

    Raises:
        Invalid: an attribute is missing or has a line break, or the key is of neither kind.
    """
    for name in _SIGNED:
        if name not in attributes:
            raise Invalid("a signed event has this attribute", where=f"ce_{name}")
    private = load_pem_private_key(key, password=None)
    algorithm = "EdDSA" if isinstance(private, Ed25519PrivateKey) else "ES256"
    try:
        headers = {"kid": key_id, "typ": ""}  # it is no token
        signed = _signed({name: attributes[name] for name in _SIGNED}, body)
        return jwt.api_jws.encode(signed, key, algorithm, headers=headers, is_payload_detached=True)
    except (jwt.PyJWTError, TypeError) as error:
        raise Invalid(f"the key makes neither ES256 nor EdDSA: {error}", where="key") from None


def _check(event: CloudEvent, signer: PublicKey) -> None:
    attributes = {name: str(getattr(event, name)) for name in _SIGNED} | {"time": event.time.isoformat()}
    expected = _signed(attributes, event.data)
    try:
        found = jwt.api_jws.decode(event.signature, signer.key, algorithms=_ALGORITHMS, detached_payload=expected)
    except jwt.PyJWTError as error:
        raise _refused(f"it is of another event, or by another key: {error}") from None
    if found != expected:  # it carries a payload of its own, as a token does
        raise _refused("it isn't detached")


def _signed(attributes: Mapping[str, str], body: bytes) -> bytes:
    """The bytes that are signed."""
    moment = datetime.fromisoformat(attributes["time"]).astimezone(UTC).isoformat(timespec="microseconds")
    lines = [attributes[name] for name in _SIGNED] + [hashlib.sha256(body).hexdigest()]
    lines[_SIGNED.index("time")] = moment.replace("+00:00", "Z")
    if any("\n" in line or "\r" in line for line in lines):
        raise Invalid("a signed event's attributes have no line breaks", where="ce_signature")
    return "\n".join(lines).encode()


def _key_id(signature: str) -> str:
    try:
        return str(jwt.get_unverified_header(signature).get("kid", ""))
    except (jwt.PyJWTError, RecursionError) as error:
        raise _refused(f"it is no JSON Web Signature: {error}") from None


def _refused(why: str) -> Denied:
    return Denied(f"the signature doesn't prove who sent the event: {why}", where="ce_signature")
