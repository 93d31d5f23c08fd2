"""The artifact's bytes: a folder of the store is opened only if every file in it is what the digest promises.

    STORE/artifacts/DIGEST/manifest.json     what should be there: path, size and SHA-256 of each file
    STORE/artifacts/DIGEST/files/...         what is there

The digest is SHA-256 over the sorted lines `sha256  size  path`, one per file. So three things must agree:
the digest that was approved, the manifest, and the files. Each disagreement is named by the file that causes
it, which is why the manifest is read at all. Links are refused: what they point to could change after the
check.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.chassis.errors import Invalid, NotFound

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One file of an artifact: SHA-256 over its content as hex, its size in bytes, its path with forward slashes."""

    sha256: str
    size_bytes: int
    path: str

    def line(self) -> str:
        """The file's line in the manifest that is hashed."""
        return f"{self.sha256}  {self.size_bytes}  {self.path}\n"


def digest_of(files: Iterable[File]) -> str:
    """The digest of an artifact with these files, 64 hex digits."""
    return hashlib.sha256("".join(sorted(file.line() for file in files)).encode()).hexdigest()


def verified_files(store: Path, digest: str) -> Path:
    """The folder of the artifact's files, once each of them has been checked.

    Raises:
        Invalid: the digest is malformed; the manifest is not the digest's; a file was changed, is missing or
            is new.
        NotFound: the store has no artifact of this digest.
    """
    folder = _folder(store, digest)
    promised = {file.path: file for file in _manifest(folder / "manifest.json")}
    if digest_of(promised.values()) != digest:
        raise Invalid(f"manifest.json is not the manifest of artifact {digest}", where=str(folder))
    found = {file.path: file for file in _files(folder / "files")}
    for path in sorted(promised.keys() | found.keys()):
        _compare(path, promised.get(path), found.get(path), digest)
    return folder / "files"


def _folder(store: Path, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise Invalid(f"{digest!r} is not a SHA-256 digest of 64 lower-case hex digits", where="artifact digest")
    folder = store / "artifacts" / digest
    if not folder.is_dir():
        raise NotFound(f"the store has no artifact {digest}", where=str(store))
    return folder


def _manifest(path: Path) -> list[File]:
    try:
        entries = json.loads(path.read_bytes())
        rows = entries["files"] if isinstance(entries, dict) else entries
        return [File(str(row["sha256"]), int(row["size_bytes"]), str(row["path"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"the manifest can't be read: {error}", where=str(path)) from error


def _files(folder: Path) -> Iterator[File]:
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise Invalid("an artifact may not hold a link", where=path.relative_to(folder).as_posix())
        if path.is_file():
            yield _measured(path, path.relative_to(folder).as_posix())


def _measured(path: Path, name: str) -> File:
    with path.open("rb") as content:
        return File(hashlib.file_digest(content, "sha256").hexdigest(), path.stat().st_size, name)


def _compare(path: str, promised: File | None, found: File | None, digest: str) -> None:
    if promised == found:
        return
    if promised is None:
        raise Invalid(f"the file is not part of artifact {digest}", where=path)
    if found is None:
        raise Invalid(f"the file of artifact {digest} is missing", where=path)
    raise Invalid(
        f"the file was changed: artifact {digest} has SHA-256 {promised.sha256}, here it is {found.sha256}",
        where=path,
        fix="restore the file in the store, or register what is there as a new version",
    )
