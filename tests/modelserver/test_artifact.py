from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.chassis.errors import GoldenpathError, Invalid, NotFound
from services.modelserver.artifact import verified_files
from tests.modelserver.conftest import put


@pytest.fixture
def digest(store: Path, tmp_path: Path) -> str:
    source = tmp_path / "source"
    (source / "code").mkdir(parents=True)
    (source / "MLmodel").write_text("flavors: {}")
    (source / "model.skops").write_bytes(b"\x00" * 1000)
    (source / "code" / "steps.py").write_text("x = 1")
    return put(store, source)


@pytest.fixture
def files(store: Path, digest: str) -> Path:
    return store / "artifacts" / digest / "files"


def test_an_artifact_that_is_what_its_digest_says_is_opened(store: Path, digest: str, files: Path) -> None:
    assert verified_files(store, digest) == files


def _flip_one_byte(files: Path) -> None:
    content = bytearray((files / "model.skops").read_bytes())
    content[500] ^= 1
    (files / "model.skops").write_bytes(content)


def _take_one_away(files: Path) -> None:
    (files / "code" / "steps.py").unlink()


def _add_one(files: Path) -> None:
    (files / "code" / "more.py").write_text("import os")


def _link_one(files: Path) -> None:
    (files / "model.skops").unlink()
    (files / "model.skops").symlink_to(files / "MLmodel")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(_flip_one_byte, "model.skops: the file was changed", id="one byte changed"),
        pytest.param(_take_one_away, "code/steps.py: the file of artifact .* is missing", id="a file missing"),
        pytest.param(_add_one, "code/more.py: the file is not part of artifact", id="a file more"),
        pytest.param(_link_one, "model.skops: an artifact may not hold a link", id="a link"),
    ],
)
def test_a_changed_artifact_is_refused_by_the_name_of_the_file(
    store: Path, digest: str, files: Path, change: Callable[[Path], None], named: str
) -> None:
    change(files)
    with pytest.raises(Invalid, match=named):
        verified_files(store, digest)


def test_a_file_changed_together_with_the_manifest_is_refused(store: Path, digest: str, files: Path) -> None:
    manifest = files.parent / "manifest.json"
    entries = json.loads(manifest.read_text())
    entries["files"][0]["size_bytes"] += 1
    manifest.write_text(json.dumps(entries))
    with pytest.raises(Invalid, match=r"manifest\.json is not the manifest of artifact"):
        verified_files(store, digest)


@pytest.mark.parametrize("content", ["{", "[]x", '{"files": [{"path": "a"}]}', '{"files": 3}'])
def test_a_manifest_that_cannot_be_read_is_refused(store: Path, digest: str, files: Path, content: str) -> None:
    (files.parent / "manifest.json").write_text(content)
    with pytest.raises(Invalid, match="the manifest can't be read"):
        verified_files(store, digest)


@pytest.mark.parametrize(
    ("digest", "error"),
    [
        pytest.param("ab" * 32, NotFound, id="unknown"),
        pytest.param("../../etc", Invalid, id="a path"),
        pytest.param("AB" * 32, Invalid, id="upper case"),
        pytest.param("", Invalid, id="empty"),
    ],
)
def test_a_digest_that_names_no_artifact_is_refused(store: Path, digest: str, error: type[GoldenpathError]) -> None:
    with pytest.raises(error):
        verified_files(store, digest)
