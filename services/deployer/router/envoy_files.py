"""Envoy's discovery files: each is written beside itself and renamed, under a lock, by whoever holds the newest lease.

The lease's token stands in the file's version, so that a deployer that was stopped, lost its lease and came back
finds a higher token than its own, and leaves the file alone. The database's clock can't fence a file; this does.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from services.chassis.leases import LeaseLost

CLUSTERS: Final = "cds.json"
ROUTES: Final = "rds.json"
_LOCK: Final = "lock"


class DiscoveryFiles:
    """The two files in a proxy's folder.

    Args:
        folder: Where they are, and their lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Any]] = {}

    def read(self, name: str) -> list[dict[str, Any]]:
        """The resources that a file holds; none where there is no file yet."""
        found = self._document(name).get("resources", [])
        return list(found)

    def version(self, name: str) -> str:
        """A file's version, as Envoy shows it once it is in effect."""
        return str(self._document(name).get("version_info", ""))

    def replace(self, name: str, resources: Sequence[dict[str, Any]], *, token: int) -> str:
        """Put resources into a file; its version. A file that holds them already stays as it is.

        Raises:
            LeaseLost: the file was written under a higher token.
        """
        body = json.dumps(list(resources), sort_keys=True)
        version = f"{token}:{hashlib.sha256(body.encode()).hexdigest()[:16]}"
        with self._locked():
            standing = self.version(name)
            if _token_in(standing) > token:
                raise LeaseLost("another deployer writes this proxy's files now")
            # Envoy takes no notice of a new version of the same content, so it would never show it.
            if self.read(name) == list(resources):
                return standing
            beside = self._folder / f"{name}.new"
            beside.write_text(f'{{"version_info": "{version}", "resources": {body}}}')
            beside.replace(self._folder / name)
        return version

    def _document(self, name: str) -> dict[str, Any]:
        """What a file holds. It is replaced and never changed, so the same file needn't be read twice."""
        try:
            with (self._folder / name).open() as file:
                status = os.fstat(file.fileno())
                which = (status.st_ino, status.st_mtime_ns)
                if self._read.get(name, (None, {}))[0] != which:
                    self._read[name] = (which, json.load(file))
        except (FileNotFoundError, ValueError):
            return {}
        found = self._read[name][1]
        return found if isinstance(found, dict) else {}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _token_in(version: str) -> int:
    text = version.partition(":")[0]
    return int(text) if text.isdigit() else 0
