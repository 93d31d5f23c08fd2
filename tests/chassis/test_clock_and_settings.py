from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from services.chassis.clock import ManualClock, SystemClock
from services.chassis.errors import Invalid
from services.chassis.settings import ServiceSettings

NEEDED = {
    "GOLDENPATH_DATABASE_DSN": "postgresql://registry:hunter2@localhost/registry",
    "GOLDENPATH_KAFKA_BOOTSTRAP": "localhost:9092",
    "GOLDENPATH_GRPC_ADDRESS": "127.0.0.1:0",
    "GOLDENPATH_HTTP_ADDRESS": "127.0.0.1:0",
    "GOLDENPATH_JWKS_PATH": "jwks.json",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GOLDENPATH_LEASE_DURATION", "PT2S")

    found = ServiceSettings.read()

    assert (found.kafka_bootstrap, found.lease_duration) == ("localhost:9092", timedelta(seconds=2))


def test_everything_that_is_missing_or_wrong_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("GOLDENPATH_KAFKA_BOOTSTRAP")
    environment.setenv("GOLDENPATH_DATABASE_CONNECTIONS", "many")

    with pytest.raises(Invalid) as caught:
        ServiceSettings.read()

    assert "GOLDENPATH_KAFKA_BOOTSTRAP: " in caught.value.what
    assert "GOLDENPATH_DATABASE_CONNECTIONS: " in caught.value.what


@pytest.mark.parametrize(
    ("name", "value"),
    [("LEASE_DURATION", "PT0S"), ("CONSUMER_SESSION_TIMEOUT", "-PT5S"), ("DATABASE_CONNECTIONS", "0")],
)
def test_a_setting_that_makes_no_sense_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"GOLDENPATH_{name}", value)

    with pytest.raises(Invalid, match=f"GOLDENPATH_{name}: Input should be greater than"):
        ServiceSettings.read()


def test_a_secret_shows_nowhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GOLDENPATH_KAFKA_PASSWORD", "hunter2")
    settings = ServiceSettings.read()

    assert "hunter2" not in f"{settings!r} {settings.kafka!r}"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        pytest.param({"KAFKA_PROTOCOL": "SASL_SSL"}, "SASL_SSL takes GOLDENPATH_KAFKA_USER", id="nobody"),
        pytest.param({"KAFKA_PROTOCOL": "TLS"}, "GOLDENPATH_KAFKA_PROTOCOL: Input should be", id="no protocol"),
        pytest.param({"GRPC_KEY_PATH": "key.pem"}, "GRPC_KEY_PATH go together", id="half a certificate"),
    ],
)
def test_settings_of_security_that_make_no_sense_are_refused(
    environment: pytest.MonkeyPatch, told: dict[str, str], said: str
) -> None:
    for name, value in told.items():
        environment.setenv(f"GOLDENPATH_{name}", value)

    with pytest.raises(Invalid, match=said):
        ServiceSettings.read()


def test_kafka_is_reached_as_the_settings_say(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GOLDENPATH_KAFKA_PROTOCOL", "SASL_SSL")
    environment.setenv("GOLDENPATH_KAFKA_USER", "registry")
    environment.setenv("GOLDENPATH_KAFKA_PASSWORD", "hunter2")
    client = ServiceSettings.read().kafka.client()

    assert client.pop("ssl_context").check_hostname
    assert client == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "registry",
        "sasl_plain_password": "hunter2",
    }


@pytest.mark.usefixtures("environment")
def test_settings_dont_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ServiceSettings.read().kafka_bootstrap = "elsewhere:9092"


def test_the_systems_clock_tells_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


async def test_a_manual_clock_wakes_whoever_has_slept_long_enough() -> None:
    clock = ManualClock()
    short = asyncio.ensure_future(clock.sleep(timedelta(seconds=1)))
    long = asyncio.ensure_future(clock.sleep(timedelta(seconds=3)))
    await clock.sleep(timedelta())

    clock.advance(timedelta(seconds=2))
    await short

    assert clock.monotonic() == 2
    assert not long.done()
    clock.advance(timedelta(seconds=1))
    await long


async def test_a_sleeper_that_gave_up_is_passed_over() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(timedelta(seconds=1)))
    await clock.sleep(timedelta())
    sleeper.cancel()

    clock.advance(timedelta(seconds=2))

    assert (clock.now() - ManualClock().now()) == timedelta(seconds=2)
