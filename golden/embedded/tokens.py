"""The development identity: an issuer on this laptop, where an organisation has its own.

A folder holds one ES256 key, made once and readable by its owner alone, and the set of public keys (JWKS) that the
services check tokens against. Whoever can read the key can be anybody: that is what a laptop is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from golden.embedded.files import write_private
from services.chassis.clock import Clock, SystemClock

ISSUER = "https://goldenpath.local/dev"
AUDIENCE = "goldenpath"


class DevelopmentIdentity:
    """Makes tokens that the services of this laptop believe.

    Args:
        folder: Holds the key and the JWKS file; both are made when absent.
        clock: Says when a token is issued.
    """

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._key = _key(folder / "key.pem")
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self._key_id = hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()[:16]
        self.jwks_path = folder / "jwks.json"
        """The public keys, for GOLDENPATH_JWKS_PATH."""
        entry = {**public, "kid": self._key_id, "use": "sig", "alg": "ES256"}
        _write_if_changed(self.jwks_path, json.dumps({"keys": [entry]}, indent=1))

    def issue(self, subject: str, roles: Iterable[str], lifetime: timedelta) -> str:
        """A token for somebody.

        Args:
            subject: Who it is for, such as ada@bank.example.
            roles: What they may do.
            lifetime: How long it is good for.
        """
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "roles": list(roles),
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    if not file.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        write_private(
            file,
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )
    read = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(read, ec.EllipticCurvePrivateKey), f"{file} is not the key that was made here"  # noqa: S101
    return read


def _write_if_changed(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:  # services read it again at each change
        write_private(file, text)
