"""The artifact store: files under the name of their own digest, whole or not there at all.

    STORE/artifacts/DIGEST/manifest.json     path, size and SHA-256 of each file
    STORE/artifacts/DIGEST/files/...         the files
    STORE/staging/ID/                        a folder that is being filled
    STORE/staging/ID.lock                    held by the process that fills it

The digest is SHA-256 over the sorted lines `sha256  size  path`, one per file. A folder is filled in staging, every
byte of it is put on disk, and then it is renamed to its digest: a rename either happened or didn't, so a kill -9 at
any moment leaves a whole artifact or none. Two replicas may do so at once; the second rename finds the name taken, and
by the same bytes. What a dead process left in staging is swept away by whoever can take its lock.

Nothing here opens a model: files are bytes. Links are refused, since what they point to could change later.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from services.chassis.errors import Conflict, Invalid, NotFound
from services.registry.domain import names
from services.registry.domain.versions import ArtifactFile

_PRINTABLE_PATH: Final = re.compile(r"[^\x00-\x1f\x7f\\]+")  # a newline could forge a manifest's line
_READ_ONLY: Final = 0o444


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact: its digest, and its files sorted by path."""

    digest: str
    files: tuple[ArtifactFile, ...]


def digest_of(files: Iterable[ArtifactFile]) -> str:
    """The digest of an artifact with these files, 64 hex digits."""
    lines = sorted(f"{file.sha256}  {file.size_bytes}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Staging:
    """A folder of the store that is being filled; `files` is where the files go."""

    def __init__(self, store: Path, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self.files = folder / "files"

    def seal(self) -> Artifact:
        """Make an artifact of what the folder holds now.

        Raises:
            Invalid: it holds nothing, a link, or a path that no manifest can name.
            Conflict: the store has this artifact already, but damaged.
        """
        files = tuple(sorted(_measured(self.files, durably=True), key=lambda file: file.path))
        if not files:
            raise Invalid("the artifact has no files")
        artifact = Artifact(digest_of(files), files)
        _write_durably(self._folder / "manifest.json", json.dumps({"files": [asdict(file) for file in files]}))
        for folder, _, _ in os.walk(self._folder, topdown=False):
            _sync(Path(folder))
        self._publish(artifact)
        return artifact

    def _publish(self, artifact: Artifact) -> None:
        target = self._store / "artifacts" / artifact.digest
        try:
            self._folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            ArtifactStore(self._store).verify(artifact.digest)
        _sync(target.parent)


class ArtifactStore:
    """The store in a folder that every replica, and every model server, sees.

    Args:
        root: The folder; it is made where it isn't there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("artifacts", "staging"):
            (root / name).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A fresh folder to fill; it is gone after the block, unless it was sealed."""
        folder = self._root / "staging" / uuid.uuid4().hex
        with _locked(folder.with_suffix(".lock")):
            (folder / "files").mkdir(parents=True)
            try:
                yield Staging(self._root, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def manifest(self, digest: str) -> Artifact:
        """What an artifact consists of.

        Raises:
            NotFound: the store doesn't have it.
            Conflict: its manifest was changed.
        """
        path = self._root / "artifacts" / names.digest(digest, where="artifact_digest") / "manifest.json"
        try:
            files = tuple(ArtifactFile(**entry) for entry in json.loads(path.read_bytes())["files"])
        except FileNotFoundError:
            raise NotFound(f"the store has no artifact {digest}") from None
        except (ValueError, KeyError, TypeError):
            raise Conflict(f"the manifest of artifact {digest} can't be read", where="manifest.json") from None
        if digest_of(files) != digest:
            raise Conflict(f"the manifest isn't the one of artifact {digest}", where="manifest.json")
        return Artifact(digest, files)

    def read(self, digest: str, path: str) -> bytes:
        """A file's content, once it is the one that the digest names.

        Raises:
            NotFound: the store has no such artifact, or the artifact no such file.
            Conflict: the file was changed.
        """
        promised = next((file for file in self.manifest(digest).files if file.path == path), None)
        if promised is None:
            raise NotFound(f"artifact {digest} has no file {path}")
        content = self._file(digest, path).read_bytes()
        if hashlib.sha256(content).hexdigest() != promised.sha256:
            raise Conflict(f"the file of artifact {digest} was changed", where=path)
        return content

    def verify(self, digest: str) -> Artifact:
        """Check every file of an artifact.

        Raises:
            NotFound: the store doesn't have it.
            Conflict: a file was changed, is missing, or is new; `where` names the first.
        """
        artifact = self.manifest(digest)
        promised = {file.path: file for file in artifact.files}
        found = {file.path: file for file in _measured(self._file(digest, ""), durably=False)}
        for path in sorted(promised.keys() | found.keys()):
            if promised.get(path) != found.get(path):
                raise Conflict(f"artifact {digest} isn't what it was", where=path, fix="restore the file in the store")
        return artifact

    def sweep(self) -> int:
        """Take away what dead processes left in staging; how many folders that were."""
        swept = 0
        for folder in {path.with_suffix("") for path in (self._root / "staging").iterdir()}:
            # A lock is made before its folder and taken away after it, so a folder without one has no owner either.
            with suppress(BlockingIOError), _locked(folder.with_suffix(".lock"), wait=False):
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
        return swept

    def _file(self, digest: str, path: str) -> Path:
        return self._root / "artifacts" / digest / "files" / path


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, and take it away afterwards.

    The kernel lets go of it when the process dies. A holder makes sure that the file it has locked is the one that
    still stands under the name: a sweeper may have been faster, and have taken it away.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(descriptor).st_nlink == 0:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _measured(folder: Path, *, durably: bool) -> Iterator[ArtifactFile]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Invalid("an artifact holds plain files only, no links", where=name)
        if not _PRINTABLE_PATH.fullmatch(name):
            raise Invalid("a path with a control character or a backslash can't be kept", where=repr(name))
        if path.is_file():
            if durably:
                path.chmod(_READ_ONLY)
                _sync(path)
            with path.open("rb") as content:
                yield ArtifactFile(name, path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())


def _write_durably(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(_READ_ONLY)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
