from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from services.chassis.settings import KafkaAccess
from services.chassis.testing import eventually
from services.deployer.domain.deployment import Place
from services.deployer.runtimes import Endpoint
from services.deployer.runtimes.local import LocalRuntime, LocalSettings


@pytest.fixture
def runtime(tmp_path: Path) -> LocalRuntime:
    return LocalRuntime(LocalSettings(tmp_path / "servers", tmp_path / "store", KafkaAccess(""), None))


@pytest.fixture
def started(runtime: LocalRuntime) -> Iterator[Endpoint]:
    endpoint = Endpoint(uuid4(), Place("credit"), 1, "0" * 64, runtime.free_address())
    endpoint = replace(endpoint, process=runtime.start(endpoint))
    yield endpoint
    runtime.kill(endpoint)


def test_a_server_is_known_again_by_its_pid_and_start_time(
    runtime: LocalRuntime, started: Endpoint, tmp_path: Path
) -> None:
    assert started.process is not None
    assert runtime.alive(started)
    assert not runtime.alive(replace(started, process=replace(started.process, started_at=1.0)))
    kept = json.loads((tmp_path / "servers" / f"{started.process.pid}.json").read_text())
    assert kept == {"pid": started.process.pid, "started_at": started.process.started_at}


def test_a_start_that_was_interrupted_finds_the_process_that_it_left(runtime: LocalRuntime, started: Endpoint) -> None:
    assert runtime.find(replace(started, process=None)) == started.process
    assert runtime.find(replace(started, id=uuid4())) is None


async def test_a_server_gets_no_secrets_and_a_session_of_its_own(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDENPATH_DATABASE_DSN", "postgresql://secret")
    endpoint = Endpoint(uuid4(), Place("credit"), 1, "0" * 64, runtime.free_address())
    endpoint = replace(endpoint, process=runtime.start(endpoint))
    assert endpoint.process is not None
    process = psutil.Process(endpoint.process.pid)

    async def told() -> dict[str, str]:
        return process.environ()  # empty while the process is just being made

    environment = await eventually(told)
    runtime.kill(endpoint)
    assert "GOLDENPATH_DATABASE_DSN" not in environment
    assert environment["GOLDENPATH_MODEL"] == "credit"


async def test_a_server_that_cannot_start_says_why(runtime: LocalRuntime, started: Endpoint) -> None:
    async def ended() -> bool:
        return not runtime.alive(started)

    await eventually(ended)
    assert "artifact" in runtime.last_words(started)
    assert not await runtime.answers_ready(started)
    await runtime.close()


async def test_a_version_that_reads_features_is_told_which_and_where(tmp_path: Path) -> None:
    runtime = LocalRuntime(
        LocalSettings(tmp_path / "servers", tmp_path / "store", KafkaAccess(""), None, tmp_path / "feature_store.yaml")
    )
    plain = Endpoint(uuid4(), Place("credit"), 1, "0" * 64, runtime.free_address())
    reading = replace(plain, id=uuid4(), features='{"service":"fraud"}')
    told = runtime._environment(reading)
    assert told["GOLDENPATH_FEATURES"] == '{"service":"fraud"}'
    assert told["GOLDENPATH_FEATURES_STORE"] == str(tmp_path / "feature_store.yaml")
    assert not {"GOLDENPATH_FEATURES", "GOLDENPATH_FEATURES_STORE"} & runtime._environment(plain).keys()
    await runtime.close()
