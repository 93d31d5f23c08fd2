"""Kafka's jars are the ones that the lock names, byte for byte, and come once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golden.embedded import jars
from golden.embedded.java import java, version
from services.chassis.errors import Unavailable


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and no Maven repository that could be reached: nobody listens on the discard port."""
    config = tmp_path / "jgo.conf"
    config.write_text("[repositories]\ncentral = http://127.0.0.1:9\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    return tmp_path


def test_what_is_in_the_cache_needs_no_network(offline: Path) -> None:
    cached = offline / "kafka-4.4.0"
    cached.mkdir()
    (cached / "b.jar").touch()
    (cached / "a.jar").touch()
    assert jars.class_path(offline) == f"{cached / 'a.jar'}{os.pathsep}{cached / 'b.jar'}"


def test_a_jar_with_other_bytes_is_refused(offline: Path) -> None:
    coordinate = "org.jspecify:jspecify:1.0.0"
    there = offline / "maven" / "org" / "jspecify" / "jspecify" / "1.0.0" / "jspecify-1.0.0.jar"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"something else")
    with pytest.raises(Unavailable, match="came with other bytes"):
        jars._download(jars._maven(offline / "maven"), coordinate, "0" * 64)


def test_without_a_network_the_error_says_what_to_do_and_nothing_half_done_stays(offline: Path) -> None:
    with pytest.raises(Unavailable, match=r"could not be downloaded.*\(connect once, or name a Maven mirror"):
        jars.class_path(offline / "cache")
    assert [path.name for path in (offline / "cache").iterdir()] == ["kafka-4.4.0.lock"]


def test_every_jar_is_locked_to_its_bytes() -> None:
    lines = [line.split() for line in jars._LOCK.read_text().splitlines()]
    assert all(len(digest) == 64 for _, digest in lines)
    assert set(jars.COORDINATES) <= {coordinate for coordinate, _ in lines}


def test_there_is_a_java_that_runs_kafka() -> None:
    assert int(version(java()).split(".")[0]) >= 17
