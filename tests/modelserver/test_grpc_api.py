from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from goldenpath.openinference.v2 import inference_pb2 as oip
from goldenpath.openinference.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.modelserver.conftest import Models, Serve, Served, census

FIELDS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
PERSON: dict[str, tuple[str, list[Any]]] = {
    "age": ("FP64", [41.5]),
    "hours": ("FP32", [38.0]),
    "dependants": ("INT64", [2]),
    "district": ("INT32", [7]),
    "owner": ("BOOL", [True]),
    "occupation": ("BYTES", ["müller".encode()]),
}
DTYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}


@pytest.fixture
async def channel(mixed: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mixed.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return GRPCInferenceServiceStub(channel)


def typed(model: str = "credit", version: str = "", **changes: tuple[str, list[Any]]) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model, model_version=version)
    for name, (datatype, values) in (PERSON | changes).items():
        one = request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        getattr(one.contents, FIELDS.get(datatype, "fp64_contents")).extend(values)
    return request


def raw(**changes: bytes) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="credit")
    for name, (datatype, values) in PERSON.items():
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(changes.get(name, packed(datatype, values)))
    return request


def packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    return np.array(values, dtype=DTYPES[datatype]).tobytes()


async def test_the_server_says_that_it_lives_and_is_ready(stub: Any) -> None:
    assert (await stub.ServerLive(oip.ServerLiveRequest())).live
    assert (await stub.ServerReady(oip.ServerReadyRequest())).ready
    assert (await stub.ModelReady(oip.ModelReadyRequest(name="credit", version="3"))).ready
    assert (await stub.ServerMetadata(oip.ServerMetadataRequest())).name == "goldenpath"


async def test_the_health_service_answers(channel: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_metadata_tells_what_the_model_takes(stub: Any) -> None:
    metadata = await stub.ModelMetadata(oip.ModelMetadataRequest(name="credit"))
    assert {one.name: one.datatype for one in metadata.inputs} == {name: kind for name, (kind, _) in PERSON.items()}
    assert [list(one.shape) for one in metadata.outputs] == [[-1], [-1]]


def read_typed(response: oip.ModelInferResponse) -> tuple[list[float], list[bytes]]:
    score, label = response.outputs
    return list(score.contents.fp64_contents), list(label.contents.bytes_contents)


def read_raw(response: oip.ModelInferResponse) -> tuple[list[float], list[bytes]]:
    score, label = response.raw_output_contents
    return np.frombuffer(score, dtype="<f8").tolist(), [label[4:]]


@pytest.mark.parametrize(
    ("request_", "read"), [pytest.param(typed(), read_typed, id="typed"), pytest.param(raw(), read_raw, id="raw")]
)
async def test_a_row_gets_the_models_answer_in_the_form_of_the_request(
    stub: Any, models: Models, request_: oip.ModelInferRequest, read: Any
) -> None:
    row = census(1).assign(age=41.5, hours=38.0, dependants=2, district=7, owner=True, occupation="müller")
    response = await stub.ModelInfer(request_)
    scores, labels = read(response)
    assert scores == pytest.approx(models.mixed_model.predict_proba(row)[:, 1])
    assert [label.decode() for label in labels] == models.mixed_model.predict(row).tolist()
    assert len(response.id) == 36


async def test_several_rows_get_an_id_each(stub: Any) -> None:
    twice: dict[str, Any] = {name: (kind, values * 2) for name, (kind, values) in PERSON.items()}
    response = await stub.ModelInfer(typed(**twice))
    assert len(response.parameters["record_ids"].string_param.split(",")) == 2


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        pytest.param(oip.ModelInferRequest(model_name="credit"), "inputs: expected at least one tensor", id="none"),
        pytest.param(typed(age=("FP16", [1.0])), "input 'age': the datatype 'FP16' is none of", id="datatype"),
        pytest.param(typed(occupation=("BYTES", [b"\xff"])), "input 'occupation': a value isn't UTF-8", id="no text"),
        pytest.param(typed(age=("FP64", [1.0, 2.0])), "expected the shape [2]", id="shape"),
        pytest.param(typed(age=("BYTES", [b"4"])), "expected the datatype FP64, got BYTES", id="another datatype"),
        pytest.param(raw(age=b"\0\0\0"), "input 'age': 3 bytes are no whole number of FP64 values", id="raw, odd"),
        pytest.param(raw(age=b"\0" * 16), "the shape [1] has 1 values, data has 2", id="raw, too many"),
        pytest.param(raw(occupation=b"\x09\0\0\0ab"), "'occupation': the last element is cut short", id="raw, short"),
        pytest.param(raw(occupation=b"\x09\0"), "'occupation': the last element is cut short", id="raw, shorter"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong_and_where(
    stub: Any, request_: oip.ModelInferRequest, sentence: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ModelInfer(request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in str(refused.value.details())


async def test_raw_contents_must_be_there_for_every_input(stub: Any) -> None:
    request = raw()
    del request.raw_input_contents[-1]
    with pytest.raises(grpc.aio.AioRpcError, match="expected 6 entries, got 5"):
        await stub.ModelInfer(request)


async def test_an_unknown_output_is_refused(stub: Any) -> None:
    request = typed()
    request.outputs.add(name="probability")
    with pytest.raises(grpc.aio.AioRpcError, match="the model gives no 'probability', only score, label"):
        await stub.ModelInfer(request)


@pytest.mark.parametrize(("model", "version"), [("debit", ""), ("credit", "4")])
async def test_an_unknown_model_or_version_is_not_found(stub: Any, model: str, version: str) -> None:
    for call, request in (
        (stub.ModelInfer, typed(model, version)),
        (stub.ModelReady, oip.ModelReadyRequest(name=model, version=version)),
        (stub.ModelMetadata, oip.ModelMetadataRequest(name=model, version=version)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_huge_request_is_refused(serving: Serve, models: Models) -> None:
    served = await serving(models.mixed, request_limit_bytes=1_000)
    async with grpc.aio.insecure_channel(served.grpc) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ModelInfer(typed(occupation=("BYTES", [b"x" * 2_000])))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
