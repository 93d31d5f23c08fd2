"""The artifact store: whole artifacts or none, whatever happens in between."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.chassis.errors import Conflict, Invalid, NotFound
from services.modelserver.artifact import verified_files
from services.registry.artifacts import Artifact, ArtifactStore

# Seals an artifact of three files, and kills itself as hard as can be at the n-th time that something is put on disk.
_DIES_AT = """
import os, signal, sys
from pathlib import Path
from services.registry import artifacts

left, really = int(sys.argv[2]), artifacts._sync
def sync(path):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    really(path)
artifacts._sync = sync

with artifacts.ArtifactStore(Path(sys.argv[1])).staging() as staging:
    for name in ("MLmodel", "model.skops", "requirements.txt"):
        (staging.files / name).write_text(name)
    staging.seal()
"""


def _sealed(store: ArtifactStore, **files: str) -> Artifact:
    with store.staging() as staging:
        for name, content in files.items():
            (staging.files / name).write_text(content)
        return staging.seal()


def _file(root: Path, artifact: Artifact, name: str) -> Path:
    return root / "artifacts" / artifact.digest / "files" / name


def test_the_digest_is_over_the_sorted_manifest(tmp_path: Path) -> None:
    artifact = _sealed(ArtifactStore(tmp_path), b="two", a="one")
    lines = sorted(f"{hashlib.sha256(text).hexdigest()}  3  {name}\n" for name, text in (("a", b"one"), ("b", b"two")))
    assert artifact.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert [file.path for file in artifact.files] == ["a", "b"]


def test_a_model_server_accepts_what_the_registry_wrote(tmp_path: Path) -> None:
    artifact = _sealed(ArtifactStore(tmp_path), MLmodel="flavors: {}")
    assert (verified_files(tmp_path, artifact.digest) / "MLmodel").read_text() == "flavors: {}"


def test_the_same_files_are_the_same_artifact(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert _sealed(store, a="one") == _sealed(store, a="one")
    assert len(list((tmp_path / "artifacts").iterdir())) == 1


def test_many_at_once_leave_one_artifact_and_an_empty_staging_area(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: _sealed(store, a="one", b="two").digest, range(24)))
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == list(made)
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize("moment", range(7))
def test_a_kill_at_any_moment_leaves_a_whole_artifact_or_none(tmp_path: Path, moment: int) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES_AT, str(tmp_path), str(moment)], check=False)
    assert died.returncode == -signal.SIGKILL
    store = ArtifactStore(tmp_path)
    there = [path.name for path in (tmp_path / "artifacts").iterdir()]
    assert [store.verify(digest).digest for digest in there] == there
    store.sweep()
    assert list((tmp_path / "staging").iterdir()) == []
    whole = _sealed(store, **{name: name for name in ("MLmodel", "model.skops", "requirements.txt")})
    assert store.verify(whole.digest) == whole


def test_without_a_kill_the_same_process_ends_well(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _DIES_AT, str(tmp_path), "99"], check=False)
    assert ended.returncode == 0


def test_sweeping_leaves_a_folder_alone_that_is_being_filled(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with store.staging() as staging:
        (staging.files / "a").write_text("one")
        assert ArtifactStore(tmp_path).sweep() == 0
        artifact = staging.seal()
    assert store.read(artifact.digest, "a") == b"one"


def test_sweeping_takes_a_folder_away_that_nobody_holds(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    (tmp_path / "staging" / "left" / "files").mkdir(parents=True)
    assert store.sweep() == 1
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_changed_byte_is_seen_on_reading(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = _sealed(store, a="one")
    path = _file(tmp_path, artifact, "a")
    path.chmod(0o600)
    path.write_text("eno")
    with pytest.raises(Conflict, match="was changed"):
        store.read(artifact.digest, "a")
    with pytest.raises(Conflict) as error:
        store.verify(artifact.digest)
    assert error.value.where == "a"
    with pytest.raises(Conflict):
        _sealed(store, a="one")


def test_a_changed_manifest_is_seen(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = _sealed(store, a="one")
    path = tmp_path / "artifacts" / artifact.digest / "manifest.json"
    path.chmod(0o600)
    path.write_text(path.read_text().replace('"path": "a"', '"path": "b"'))
    with pytest.raises(Conflict, match="isn't the one"):
        store.manifest(artifact.digest)


def test_a_file_too_many_is_seen(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = _sealed(store, a="one")
    _file(tmp_path, artifact, "b").write_text("new")
    with pytest.raises(Conflict) as error:
        store.verify(artifact.digest)
    assert error.value.where == "b"


def test_a_link_is_refused(tmp_path: Path) -> None:
    with ArtifactStore(tmp_path).staging() as staging:
        (staging.files / "a").symlink_to("/etc/hostname")
        with pytest.raises(Invalid, match="no links"):
            staging.seal()
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_path_that_could_forge_a_manifest_line_is_refused(tmp_path: Path) -> None:
    with ArtifactStore(tmp_path).staging() as staging:
        (staging.files / "a\nb").write_text("one")
        with pytest.raises(Invalid, match="control character"):
            staging.seal()


def test_an_artifact_without_files_is_refused(tmp_path: Path) -> None:
    with ArtifactStore(tmp_path).staging() as staging, pytest.raises(Invalid, match="no files"):
        staging.seal()


def test_what_the_store_lacks_is_not_found(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = _sealed(store, a="one")
    with pytest.raises(NotFound):
        store.manifest("0" * 64)
    with pytest.raises(NotFound):
        store.read(artifact.digest, "b")
    with pytest.raises(Invalid):
        store.manifest("../../etc")
