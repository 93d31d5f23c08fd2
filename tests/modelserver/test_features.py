"""Inputs from the feature store: keys come in, values are read, and whatever the store does has a stated result."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
import yaml

from golden.embedded.processes import free_port
from goldenpath.modelserver.v1.events_pb2 import InferenceRecorded
from services.chassis.errors import Invalid, NotFound, Unavailable
from services.chassis.testing import eventually
from tests.conftest import Database
from tests.modelserver.conftest import Serve, Served, tensor
from tests.modelserver.feature_store import INPUTS, Fed, fed, saved, trained

INFER = "/v2/models/credit/infer"


@pytest.fixture(scope="module")
def model() -> Any:
    return trained()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Path:
    return saved(tmp_path_factory.mktemp("models"), model)


@pytest.fixture
def features(database: Database, tmp_path: Path) -> Iterator[Fed]:
    folder = tmp_path / "feature_repo"
    folder.mkdir()
    with fed(database.dsn, folder) as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as made:
        yield made


def payment(*customers: Any, terminals: Any = None, **more: dict[str, Any] | None) -> dict[str, Any]:
    """A request for payments; a change replaces an input, and None takes it away."""
    inputs = {
        "amount": tensor("amount", "FP64", *[40.0] * len(customers)),
        "customer": tensor("customer", "BYTES", *customers),
        "terminal": tensor("terminal", "BYTES", *(terminals or ["t1"] * len(customers))),
    }
    return {"inputs": [value for value in (inputs | more).values() if value is not None]}


def expected(model: Any, *rows: tuple[float | None, ...]) -> list[float]:
    frame = pd.DataFrame(rows, columns=INPUTS).astype(float)
    return [float(score) for score in model.predict_proba(frame)[:, 1]]


async def scores(client: httpx.AsyncClient, served: Served, request: dict[str, Any], **headers: str) -> list[float]:
    answer = await client.post(served.http + INFER, json=request, headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    found: list[float] = answer.json()["outputs"][0]["data"]
    return found


async def record(served: Served) -> InferenceRecorded:
    async def batches() -> list[InferenceRecorded]:
        return served.sink.batches

    await eventually(batches, what="a batch")
    return served.sink.batches[-1]


async def counted(client: httpx.AsyncClient, served: Served, outcome: str) -> float:
    text = (await client.get(f"{served.http}/metrics")).text
    line = f'goldenpath_modelserver_features_read_total{{outcome="{outcome}",view="customer_windows"}} (.*)'
    found = re.search(line, text)
    return float(found[1]) if found else 0.0


async def test_the_model_sees_what_the_store_has_of_the_requests_keys(
    serving: Serve, folder: Path, features: Fed, model: Any, client: httpx.AsyncClient
) -> None:
    moment = features.write("customer_windows", "ann", count_7d=3.0, mean_7d=12.5)
    features.write("customer_windows", "bob", count_7d=9.0, mean_7d=70.0)
    features.write("terminal_windows", "t1", risk=0.25, count=8.0)
    served = await serving(folder, **features.told())
    before = await counted(client, served, "found")
    found = await scores(client, served, payment("bob", "ann", "bob"))
    assert found == pytest.approx(
        expected(model, (40.0, 9.0, 70.0, 0.25), (40.0, 3.0, 12.5, 0.25), (40.0, 9.0, 70.0, 0.25))
    )
    assert await counted(client, served, "found") - before == 3
    kept = await record(served)
    inputs = {column.name: list(column.numbers) for column in kept.inputs}
    assert inputs["count_7d"] == [9.0, 3.0, 9.0]
    assert list(inputs) == INPUTS
    keys = {column.name: [column.dictionary[code] for code in column.codes] for column in kept.keys}
    assert keys == {"customer": ["bob", "ann", "bob"], "terminal": ["t1"] * 3}
    customers, terminals = kept.features
    assert (customers.view, terminals.view) == ("customer_windows", "terminal_windows")
    assert customers.event_times_us[1] == round(moment.timestamp() * 1e6)
    assert [customers.outcomes[code] for code in customers.codes] == ["found"] * 3


async def recorded(served: Served, outcome: str) -> bool:
    async def told() -> bool:
        views = [batch.features[0] for batch in served.sink.batches]
        return outcome in {view.outcomes[code] for view in views for code in view.codes}

    return bool(await eventually(told, what=f"a record of what was {outcome}"))


@pytest.mark.parametrize(
    ("key", "age", "outcome"),
    [
        pytest.param("nobody", timedelta(), "unknown", id="an entity that the store doesn't know"),
        pytest.param(None, timedelta(), "unknown", id="no key at all"),
        pytest.param("ann", timedelta(days=3), "stale", id="values older than they may be"),
    ],
)
async def test_without_a_value_the_features_are_missing(
    key: str | None,
    age: timedelta,
    outcome: str,
    serving: Serve,
    folder: Path,
    features: Fed,
    model: Any,
    client: httpx.AsyncClient,
) -> None:
    features.write("customer_windows", "ann", age, count_7d=3.0, mean_7d=12.5)
    features.write("terminal_windows", "t1", timedelta(days=300), risk=0.25)
    served = await serving(folder, **features.told())
    before = await counted(client, served, outcome)
    assert await scores(client, served, payment(key)) == pytest.approx(expected(model, (40.0, None, None, 0.25)))
    assert await counted(client, served, outcome) - before == 1
    assert await recorded(served, outcome)


async def test_a_version_that_must_not_answer_without_fails(
    serving: Serve, folder: Path, features: Fed, client: httpx.AsyncClient
) -> None:
    features.write("customer_windows", "ann", count_7d=3.0, mean_7d=12.5)
    features.write("terminal_windows", "t1", risk=0.25)
    served = await serving(folder, **features.told(fails=True))
    assert len(await scores(client, served, payment("ann"))) == 1
    answer = await client.post(served.http + INFER, json=payment("ann", "nobody"))
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "customer_windows: unknown" in answer.json()["error"]


async def test_a_store_that_is_slow_costs_the_deadline_and_then_serves_again(
    serving: Serve, folder: Path, features: Fed, model: Any, client: httpx.AsyncClient, database: Database
) -> None:
    features.write("customer_windows", "ann", count_7d=3.0, mean_7d=12.5)
    features.write("terminal_windows", "t1", risk=0.25)
    said = yaml.safe_load(features.settings.read_text())
    said["online_store"] |= {"patience_ms": 60_000}
    features.settings.write_text(yaml.safe_dump(said))
    served = await serving(folder, **features.told(deadline=timedelta(milliseconds=200)))
    assert len(await scores(client, served, payment("ann"))) == 1
    with psycopg.connect(database.dsn) as holder:
        holder.execute("LOCK TABLE tests_customer_windows IN ACCESS EXCLUSIVE MODE")
        answer = await client.post(served.http + INFER, json=payment("ann"))
        assert answer.json()["outputs"][0]["data"] == pytest.approx(expected(model, (40.0, None, None, None)))
        assert timedelta(milliseconds=200) <= answer.elapsed < timedelta(seconds=15)
        assert await recorded(served, "late")

    async def again() -> bool:
        found = await scores(client, served, payment("ann"))
        return found == pytest.approx(expected(model, (40.0, 3.0, 12.5, 0.25)))

    await eventually(again, what="features from the store")


async def test_a_store_that_is_down_stops_no_answer(
    serving: Serve, folder: Path, features: Fed, model: Any, client: httpx.AsyncClient
) -> None:
    said = yaml.safe_load(features.settings.read_text())
    said["online_store"] |= {"port": free_port(), "patience_ms": 100}
    features.settings.write_text(yaml.safe_dump(said))
    served = await serving(folder, **features.told())
    before = await counted(client, served, "failed")
    assert await scores(client, served, payment("ann")) == pytest.approx(expected(model, (40.0, None, None, None)))
    assert await counted(client, served, "failed") - before == 1
    assert await recorded(served, "failed")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        pytest.param({"customer": None}, "input 'customer'", id="a key is missing"),
        pytest.param({"customer": tensor("customer", "INT64", 7)}, "input 'customer'", id="a key of another type"),
        pytest.param({"customer": tensor("customer", "BYTES", 7)}, "input 'customer'", id="a value of another type"),
        pytest.param({"amount": None}, "input 'amount'", id="an input that the store doesn't have"),
        pytest.param({"terminal": tensor("terminal", "BYTES", "a", "b")}, "input 'terminal'", id="too many keys"),
    ],
)
async def test_what_a_request_must_bring_is_said(
    change: dict[str, Any], where: str, serving: Serve, folder: Path, features: Fed, client: httpx.AsyncClient
) -> None:
    served = await serving(folder, **features.told())
    answer = await client.post(served.http + INFER, json=payment("ann", **change))
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert where in answer.json()["error"]


async def test_a_replay_brings_everything_and_reads_nothing(
    serving: Serve, folder: Path, features: Fed, model: Any, client: httpx.AsyncClient
) -> None:
    features.write("customer_windows", "ann", count_7d=3.0, mean_7d=12.5)
    served = await serving(folder, **features.told())
    replay = {"x-goldenpath-arm": "replay"}
    row = {"inputs": [tensor(name, "FP64", value) for name, value in zip(INPUTS, (40.0, 1.0, 2.0, 0.5), strict=True)]}
    assert await scores(client, served, row, **replay) == pytest.approx(expected(model, (40.0, 1.0, 2.0, 0.5)))
    described = (await client.get(f"{served.http}/v2/models/credit", headers=replay)).json()
    assert [one["name"] for one in described["inputs"]] == INPUTS


async def test_the_metadata_name_what_a_request_brings(
    serving: Serve, folder: Path, features: Fed, client: httpx.AsyncClient
) -> None:
    served = await serving(folder, **features.told())
    described = (await client.get(f"{served.http}/v2/models/credit")).json()
    assert [(one["name"], one["datatype"]) for one in described["inputs"]] == [
        ("amount", "FP64"),
        ("customer", "BYTES"),
        ("terminal", "BYTES"),
    ]


async def test_a_version_that_reads_features_needs_to_know_where_they_are(
    serving: Serve, folder: Path, features: Fed
) -> None:
    with pytest.raises(Invalid, match="nobody said where the store is"):
        await serving(folder, features=features.told()["features"])
    with pytest.raises(Unavailable, match="can't be read"):
        await serving(folder, **features.told() | {"features_store": features.folder / "missing.yaml"})
    with pytest.raises(Invalid, match="no feature settings"):
        await serving(folder, features="{", features_store=features.settings)


async def test_a_view_or_a_feature_that_is_gone_is_named(serving: Serve, folder: Path, features: Fed) -> None:
    wanted = features.told()
    with pytest.raises(NotFound, match="no view customers"):
        await serving(folder, **wanted | {"features": wanted["features"].replace("customer_windows", "customers")})
    with pytest.raises(NotFound, match="customer_windows has no count_9d"):
        await serving(folder, **wanted | {"features": wanted["features"].replace("count_7d", "count_9d")})
