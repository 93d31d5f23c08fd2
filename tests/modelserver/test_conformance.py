"""Held to the Open Inference Protocol by other people's clients, and to its published messages."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from goldenpath.openinference.v2 import inference_pb2
from tests.modelserver.conftest import Models, Served, census

CLIENTS = Path(__file__).parent / "clients"
PEOPLE = {
    "age": [41.5, 22.0],
    "hours": [38.0, 40.0],
    "dependants": [2, 0],
    "district": [7, 3],
    "owner": [True, False],
    "occupation": ["clerk", "farmer"],
}


async def printed(*command: str | Path) -> Any:
    """What a Python process prints as JSON."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output.decode().splitlines()[-1])


@pytest.fixture
def expected(models: Models) -> dict[str, Any]:
    people = pd.DataFrame(PEOPLE).astype(census().dtypes.to_dict())
    scores = models.mixed_model.predict_proba(people)[:, 1]
    return {"score": pytest.approx(scores.tolist()), "label": models.mixed_model.predict(people).tolist()}


async def test_kserves_client_is_served(mixed: Served, expected: dict[str, Any]) -> None:
    got = await printed(CLIENTS / "kserve_client.py", mixed.http, mixed.grpc)
    answers = {name: got.pop(name) for name in ("rest infer", "grpc infer", "grpc infer typed")}
    assert set(got.values()) == {True}
    for answer in answers.values():
        assert answer | expected == answer
        assert (answer["model"], len(answer["id"])) == ("credit", 36)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_tritons_client_is_served(mixed: Served, expected: dict[str, Any], protocol: str) -> None:
    got = (await printed(CLIENTS / "triton_client.py", mixed.http.removeprefix("http://"), mixed.grpc))[protocol]
    assert got["infer"] == expected
    assert got["inputs"] == list(PEOPLE)
    assert got["refusal"] == "model: 'debit' isn't here; this server has credit@3"
    assert {got[name] for name in ("live", "ready", "model ready", "only the label")} == {True}


PUBLISHED = """
import json
from google.protobuf.json_format import MessageToDict
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from {module} import DESCRIPTOR
file = FileDescriptorProto()
DESCRIPTOR.CopyToProto(file)
print(json.dumps(MessageToDict(file)))
"""


@pytest.mark.parametrize("module", ["kserve.protocol.grpc.grpc_predict_v2_pb2", "tritonclient.grpc.service_pb2"])
async def test_our_messages_are_the_published_ones(module: str) -> None:
    published = await printed("-c", PUBLISHED.format(module=module))
    ours = await printed("-c", PUBLISHED.format(module=inference_pb2.__name__))
    theirs = {(*path, *field) for path, field in _fields(published["messageType"])}
    mine = {(*path, *field) for path, field in _fields(ours["messageType"])}
    assert mine - theirs == set()
    assert ours["package"] == published["package"]
    assert _methods(ours) <= _methods(published)


def _methods(file: dict[str, Any]) -> set[tuple[str, ...]]:
    (service,) = file["service"]
    return {(service["name"], one["name"], one["inputType"], one["outputType"]) for one in service["method"]}


def _fields(messages: list[dict[str, Any]], *path: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    found = []
    for message in messages:
        here = (*path, message["name"])
        for field in message.get("field", []):
            what = tuple(str(field.get(key)) for key in ("name", "number", "type", "label", "typeName"))
            found.append((here, what))
        found += _fields(message.get("nestedType", []), *here)
    return found
