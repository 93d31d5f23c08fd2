"""A file of public keys, against which tokens and events' signatures are checked."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from services.chassis.errors import Unavailable


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, and who may speak with it; empty where the file doesn't say."""

    key: jwt.PyJWK
    speaks_for: str


class PublicKeys:
    """A JSON Web Key Set, read again when its file changes.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._keys: dict[str, PublicKey] = {}

    def find(self, key_id: str) -> PublicKey | None:
        """The key of that `kid`; None where there is none.

        Raises:
            Unavailable: the file can't be read.
        """
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._keys = _read(json.loads(self._path.read_text()))
                self._read_at = changed_at
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise Unavailable(f"the public keys in {self._path.name} can't be read: {error}") from None
        return self._keys.get(key_id)


def _read(document: Any) -> dict[str, PublicKey]:
    found = {}
    for member in document["keys"]:
        with suppress(jwt.PyJWTError):  # a key of a kind that we don't know is none of ours
            found[str(member.get("kid", ""))] = PublicKey(jwt.PyJWK.from_dict(member), str(member.get("sub", "")))
    if not found:
        raise ValueError("there is none")
    return found
