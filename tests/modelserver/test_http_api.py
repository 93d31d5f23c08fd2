from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY

from services.chassis.errors import Unavailable
from tests.modelserver.conftest import Models, Serve, Served, census, person, tensor

INFER = "/v2/models/credit/infer"


@pytest.fixture
async def client(mixed: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mixed.http) as client:
        yield client


def value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def test_the_server_says_that_it_lives_and_is_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await client.get("/v2/models/credit/versions/3/ready")).json() == {"name": "credit", "ready": True}
    assert (await client.get("/v2")).json()["name"] == "goldenpath"


async def test_a_server_that_stops_is_no_longer_ready(client: httpx.AsyncClient, mixed: Served) -> None:
    mixed.server.inference.ready = False
    ready = await client.get("/v2/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert (await client.get("/v2/models/credit/ready")).status_code == 503


async def test_metadata_tells_what_the_model_takes_and_gives(client: httpx.AsyncClient) -> None:
    metadata = (await client.get("/v2/models/credit")).json()
    assert metadata["platform"] == "sklearn_skops"
    assert metadata["versions"] == ["3"]
    assert {one["name"]: one["datatype"] for one in metadata["inputs"]} == {
        "age": "FP64",
        "hours": "FP32",
        "dependants": "INT64",
        "district": "INT32",
        "owner": "BOOL",
        "occupation": "BYTES",
    }
    assert metadata["outputs"] == [
        {"name": "score", "datatype": "FP64", "shape": [-1]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]


async def test_one_row_gets_the_models_answer_and_its_record_id(client: httpx.AsyncClient, models: Models) -> None:
    row = census(1).assign(age=41.5, hours=38.0, dependants=2, district=7, owner=True, occupation="clerk")
    response = await client.post(INFER, json=person())
    answer = response.json()
    score, label = answer["outputs"]
    assert score == {"name": "score", "datatype": "FP64", "shape": [1], "data": score["data"]}
    assert score["data"] == pytest.approx(models.mixed_model.predict_proba(row)[:, 1])
    assert label["data"] == models.mixed_model.predict(row).tolist()
    assert uuid.UUID(answer["id"]).version == 7
    assert response.headers["x-goldenpath-record-id"] == answer["id"]
    assert (answer["model_name"], answer["model_version"]) == ("credit", "3")


async def test_several_rows_get_an_id_each(client: httpx.AsyncClient) -> None:
    rows = {name: column * 3 for name, column in _columns(person()).items()}
    answer = (await client.post(INFER, json={"inputs": [tensor(*key, *data) for key, data in rows.items()]})).json()
    ids = answer["parameters"]["record_ids"].split(",")
    assert len(set(ids)) == 3
    assert answer["id"] == ids[0]
    assert answer["outputs"][0]["shape"] == [3]


def _columns(request: dict[str, Any]) -> dict[tuple[str, str], list[Any]]:
    return {(one["name"], one["datatype"]): one["data"] for one in request["inputs"]}


async def test_more_rows_than_a_turn_takes_are_predicted_beside_the_loop(client: httpx.AsyncClient) -> None:
    rows = {name: column * 500 for name, column in _columns(person()).items()}
    answer = (await client.post(INFER, json={"inputs": [tensor(*key, *data) for key, data in rows.items()]})).json()
    assert len(set(answer["outputs"][0]["data"])) == 1


async def test_only_the_outputs_that_are_wanted_are_given(client: httpx.AsyncClient) -> None:
    answer = (await client.post(INFER, json=person() | {"outputs": [{"name": "label"}]})).json()
    assert [output["name"] for output in answer["outputs"]] == ["label"]


async def test_the_version_may_be_named(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v2/models/credit/versions/3/infer", json=person())).status_code == 200


async def test_missing_values_are_predicted_where_the_model_can(client: httpx.AsyncClient) -> None:
    missing = person(age=tensor("age", "FP64", None), occupation=tensor("occupation", "BYTES", None))
    assert (await client.post(INFER, json=missing)).status_code == 200


async def test_a_tensor_model_takes_one_tensor(matrix: Served) -> None:
    request = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]}]}
    async with httpx.AsyncClient(base_url=matrix.http) as client:
        answer = (await client.post(INFER, json=request)).json()
    assert answer["outputs"] == [
        {"name": "score", "datatype": "FP64", "shape": [2], "data": pytest.approx([6.0, 15.0])}
    ]


def body(document: Any) -> bytes:
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "body: the body isn't JSON", id="empty"),
        pytest.param(b"age=3", "body: the body isn't JSON", id="not JSON"),
        pytest.param(b"\xff\xfe", "body: the body isn't JSON", id="not text"),
        pytest.param(b'{"inputs": [NaN]}', "body: the body isn't JSON", id="NaN"),
        pytest.param(b"[" * 100_000, "body: the body isn't JSON", id="nested without end"),
        pytest.param(b"[]", "body: the body isn't a JSON object", id="a list"),
        pytest.param(body({}), "inputs: expected a list of at least one tensor", id="no inputs"),
        pytest.param(body({"inputs": []}), "inputs: expected a list of at least one tensor", id="empty inputs"),
        pytest.param(body({"inputs": {"age": 3}}), "inputs: expected a list", id="inputs by name"),
        pytest.param(body({"inputs": [3]}), "inputs[0]: expected a tensor, a JSON object", id="no tensor"),
        pytest.param(body({"inputs": [{}]}), "inputs[0].name: expected text, found none", id="no name"),
        pytest.param(body({"inputs": [{"name": "a"}]}), "inputs[0].datatype: expected text, found none", id="dtype"),
        pytest.param(
            body({"inputs": [{"name": "a", "datatype": "FP64", "shape": 1, "data": [1]}]}),
            "inputs[0].shape: expected a list, got 1",
            id="shape is no list",
        ),
        pytest.param(
            body({"inputs": [{"name": "a", "datatype": "FP64", "shape": [1], "data": 1}]}),
            "inputs[0].data: expected a list, got 1",
            id="data is no list",
        ),
        pytest.param(body(person(age=None)), "input 'age': the input is missing", id="missing column"),
        pytest.param(body(person(age=tensor("age", "FP64", 1, 2))), "expected the shape [2] or [2, 1]", id="shape"),
        pytest.param(body(person(age=tensor("age", "BYTES", "4"))), "expected the datatype FP64, got BYTES", id="type"),
        pytest.param(body(person(age=tensor("age", "FP64", "old"))), "value 0: expected a number", id="value"),
        pytest.param(body(person() | {"outputs": "all"}), "outputs: expected a list of objects", id="outputs"),
        pytest.param(body(person() | {"outputs": [{"name": "x"}]}), "the model gives no 'x'", id="unknown output"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong_and_where(
    client: httpx.AsyncClient, mixed: Served, content: bytes, sentence: str
) -> None:
    response = await client.post(INFER, content=content)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
    assert mixed.sink.batches == []


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        ("x-goldenpath-epoch", "-1"),
        ("x-goldenpath-epoch", "9" * 30),
        ("x-goldenpath-arm", "blue"),
        ("x-goldenpath-probability", "0"),
        ("x-goldenpath-probability", "nan"),
        ("x-goldenpath-probability", "much"),
        ("x-unit-id", "u" * 300),
    ],
)
async def test_a_malformed_header_is_refused_by_its_name(client: httpx.AsyncClient, header: str, wrong: str) -> None:
    response = await client.post(INFER, json=person(), headers={header: wrong})
    assert response.status_code == 400
    assert header in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/debit/infer", 404),
        ("POST", "/v2/models/credit/versions/4/infer", 404),
        ("GET", "/v2/models/debit", 404),
        ("GET", "/v2/models/debit/ready", 404),
        ("GET", "/v2/models/credit/versions/x", 404),
        ("GET", "/v1/models/credit", 404),
        ("GET", "/v2/models/credit/infer", 405),
        ("DELETE", "/v2", 405),
    ],
)
async def test_what_is_not_there_is_refused(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    response = await client.request(method, path, json=person())
    assert response.status_code == status
    assert response.json()["error"]


async def test_an_unknown_model_is_told_what_is_here(client: httpx.AsyncClient) -> None:
    response = await client.post("/v2/models/debit/infer", json=person())
    assert response.json()["error"] == "model: 'debit' isn't here; this server has credit@3"


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
async def test_a_huge_body_is_refused_and_the_server_lives_on(
    serving: Serve, models: Models, *, announced: bool
) -> None:
    served = await serving(models.mixed, request_limit_bytes=10_000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1_000

    async with httpx.AsyncClient(base_url=served.http) as client:
        response = await client.post(INFER, content=b" " * 20_000 if announced else chunks())
        assert response.status_code == 413
        assert response.json()["error"].startswith("body: larger than 10000 bytes")
        assert (await client.post(INFER, json=person())).status_code == 200


async def test_binary_tensors_are_refused_in_words(client: httpx.AsyncClient) -> None:
    response = await client.post(INFER, content=b"{}...", headers={"inference-header-content-length": "2"})
    assert response.status_code == 400
    assert "binary_data=False" in response.json()["error"]


async def test_a_value_that_the_model_cannot_take_is_named_as_such(matrix: Served) -> None:
    request = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [1, None, 3]}]}
    async with httpx.AsyncClient(base_url=matrix.http) as client:
        response = await client.post(INFER, json=request)
    assert response.status_code == 400
    assert "can't predict a missing or infinite value" in response.json()["error"]


class Broken:
    """A model whose code fails."""

    def predict_proba(self, _: object) -> None:
        raise RuntimeError("secret path")


async def test_a_model_that_fails_says_nothing_of_its_inside(
    client: httpx.AsyncClient, mixed: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed.server.inference._predictor, "estimator", Broken())
    failed = value("goldenpath_modelserver_requests_total", protocol="http", result="Internal")
    response = await client.post(INFER, json=person())
    assert response.status_code == 500
    assert "secret" not in response.text
    assert value("goldenpath_modelserver_requests_total", protocol="http", result="Internal") == failed + 1


@pytest.mark.parametrize("edge", ["http_address", "grpc_address"])
async def test_an_address_that_is_taken_is_named(serving: Serve, models: Models, edge: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"{taken}: .* can't listen there"):
            await serving(models.matrix, **{edge: taken})


async def test_metrics_count_and_time_requests(client: httpx.AsyncClient) -> None:
    answered = value("goldenpath_modelserver_requests_total", protocol="http", result="ok")
    refused = value("goldenpath_modelserver_requests_total", protocol="http", result="Invalid")
    await client.post(INFER, json=person())
    await client.post(INFER, content=b"")
    assert value("goldenpath_modelserver_requests_total", protocol="http", result="ok") == answered + 1
    assert value("goldenpath_modelserver_requests_total", protocol="http", result="Invalid") == refused + 1
    assert "goldenpath_modelserver_inference_seconds_bucket" in (await client.get("/metrics")).text
