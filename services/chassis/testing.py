"""What tests of the suite need: time that a test moves, tokens, events as Kafka carries them, and patience.

PostgreSQL and Kafka themselves start in a second or two, so there is no fake of them: a test that needs a
transaction gets a real one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from services.chassis.clock import ManualClock, SystemClock
from services.chassis.cloudevents import CloudEvent, event_of, headers_of
from services.chassis.errors import GoldenpathError
from services.chassis.identity import Role, TokenVerifier
from services.chassis.parking import Raw
from services.chassis.signatures import signature_of

__all__ = ["Issuer", "ManualClock", "Signer", "emitted", "eventually", "raw_of", "signers_of"]

ISSUER = "https://goldenpath.local/dev"
AUDIENCE = "goldenpath"
_EDWARDS = jwt.algorithms.OKPAlgorithm


async def eventually(
    condition: Callable[[], Awaitable[Any]], *, within: timedelta = timedelta(seconds=60), what: str = "it"
) -> Any:
    """Poll until a condition gives something truthy, and give that back; a foreseen error counts as not yet.

    Raises:
        AssertionError: the time is over; it says what the condition gave last.
    """
    deadline = asyncio.get_running_loop().time() + within.total_seconds()
    last: Any = None
    while asyncio.get_running_loop().time() < deadline:
        try:
            last = await condition()
        except (GoldenpathError, OSError) as error:
            last = error
        else:
            if last:
                return last
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} didn't happen within {within.total_seconds():g} s; last seen: {last!r}")


class Issuer:
    """An issuer of tokens with a key of its own.

    Args:
        folder: Where its public keys are written.
    """

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = uuid.uuid4().hex
        self.jwks_path = folder / "jwks.json"
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwks_path.write_text(json.dumps({"keys": [public | {"kid": self._key_id, "alg": "ES256", "use": "sig"}]}))

    def verifier(self) -> TokenVerifier:
        """A verifier that trusts this issuer."""
        return TokenVerifier(self.jwks_path, issuer=ISSUER, audience=AUDIENCE)

    def token(self, subject: str, *roles: Role, lifetime: timedelta = timedelta(hours=1), **claims: Any) -> str:
        """A token for somebody; a negative lifetime makes one that has expired."""
        now = SystemClock().now()
        body = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "roles": list(roles),
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode(body | claims, self._key, algorithm="ES256", headers={"kid": self._key_id})


class Signer:
    """Somebody who signs events, with a key of their own.

    Args:
        subject: For whom the key may speak.
        key: Its private key, on P-256 or Ed25519; None: a new one.
    """

    def __init__(self, subject: str, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey | None = None) -> None:
        self.subject = subject
        self.key_id = uuid.uuid4().hex
        self._key = key or ec.generate_private_key(ec.SECP256R1())

    def sign(self, event: CloudEvent) -> CloudEvent:
        """The event with its signature."""
        names = ("id", "source", "type", "subject", "actor")
        attributes = {name: getattr(event, name) for name in names} | {"time": event.time.isoformat()}
        signature = signature_of(attributes, event.data, key=self.pem, key_id=self.key_id)
        return replace(event, signature=signature)

    @property
    def pem(self) -> bytes:
        """The private key."""
        form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self._key.private_bytes(serialization.Encoding.PEM, form, secret)

    def public(self) -> dict[str, Any]:
        """The public key, as it stands among the signers'."""
        public: Any = self._key.public_key()
        kind = jwt.algorithms.ECAlgorithm if isinstance(self._key, ec.EllipticCurvePrivateKey) else _EDWARDS
        return dict(kind.to_jwk(public, as_dict=True)) | {"kid": self.key_id, "sub": self.subject}


def signers_of(folder: Path, *signers: Signer) -> Path:
    """The file of these signers' public keys."""
    path = folder / "signers.json"
    path.write_text(json.dumps({"keys": [signer.public() for signer in signers]}))
    return path


def raw_of(event: CloudEvent, *, topic: str, partition: int = 0, offset: int = 0) -> Raw:
    """An event as Kafka would hand it to a consumer."""
    headers = headers_of(event)
    return Raw(topic, partition, offset, event.subject.encode() or None, headers, event.data)


def emitted(body: Message, type_name: str, *, subject: str, sequence: int | None = 1, **more: Any) -> CloudEvent:
    """An event as a sibling would emit it."""
    source = more.pop("source", "goldenpath/test")
    time = more.pop("time", SystemClock().now())
    return event_of(body, type=type_name, source=source, subject=subject, time=time, sequence=sequence, **more)
