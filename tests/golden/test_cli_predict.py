"""`golden predict`: rows, requests, the registered example, and what is answered instead."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from goldenpath.registry.v1 import registry_service_pb2 as pb

METADATA = {"inputs": [{"name": "age", "datatype": "INT64"}, {"name": "wage", "datatype": "FP64"}]}
ANSWER = {
    "model_version": "2",
    "id": "r-1",
    "outputs": [{"name": "score", "data": [0.25]}, {"name": "label", "data": ["no"]}],
}
INFER = "POST /v2/models/credit/infer"


@pytest.fixture
def served(platform: Any) -> Any:
    platform.pages["GET /v2/models/credit"] = (200, METADATA)
    platform.pages[INFER] = (200, ANSWER)
    return platform


def written(folder: Path, document: object) -> str:
    file = folder / "row.json"
    file.write_text(json.dumps(document))
    return str(file)


@pytest.mark.parametrize("age", [41, 41.0])
def test_a_row_is_sent_in_the_datatypes_of_the_signature(served: Any, golden: Any, tmp_path: Path, age: float) -> None:
    ended = golden("predict", "credit", written(tmp_path, {"age": age, "wage": 12}))
    assert ended.out.splitlines() == ["score      0.25", "label      no", "record r-1  version 2"], ended.err
    sent = {one["name"]: (one["datatype"], one["data"]) for one in served.request(INFER)["inputs"]}
    assert sent == {"age": ("INT64", [41]), "wage": ("FP64", [12])}


def test_a_request_of_the_protocol_is_sent_as_it_is(served: Any, golden: Any, tmp_path: Path) -> None:
    request = {"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [41]}]}
    assert golden("predict", "credit", written(tmp_path, request)).status == 0
    assert served.request(INFER) == request


def test_standard_input_is_a_hyphen(served: Any, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"age": 41}'))
    assert golden("predict", "credit", "-", "--json").json == ANSWER
    assert served.request(INFER)["inputs"][0]["data"] == [41]


def test_without_a_file_the_registered_example_is_sent(served: Any, golden: Any) -> None:
    example = {"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [30]}]}
    served.answers["GetVersion"] = pb.GetVersionResponse(version=pb.Version(input_example_json=json.dumps(example)))
    assert golden("predict", "credit").status == 0
    assert served.request(INFER) == example


def test_an_example_without_the_keys_of_features_says_what_to_send_instead(served: Any, golden: Any) -> None:
    served.answers["GetVersion"] = pb.GetVersionResponse(version=pb.Version(input_example_json='{"wage": 12.5}'))
    served.pages[INFER] = (400, {"error": "input 'age': the input is missing"})
    ended = golden("predict", "credit")
    assert "input 'age': the input is missing" in ended.err
    assert 'write {"age": …, "wage": …} into a file' in ended.err
    assert "sends the registered example" not in ended.err


def test_several_rows_stand_beside_each_other_with_their_records(served: Any, golden: Any, tmp_path: Path) -> None:
    several = {"id": "r-1", "model_version": "2", "parameters": {"record_ids": "r-1,r-2"}}
    served.pages[INFER] = (200, several | {"outputs": [{"name": "score", "data": [0.25, 0.5]}]})
    ended = golden("predict", "credit", written(tmp_path, {"inputs": []}))
    assert ended.out.splitlines() == ["score      0.25  0.5", "records r-1 r-2  version 2"]


@pytest.mark.parametrize(
    ("status", "page", "what", "fix"),
    [
        pytest.param(400, {"error": "age is missing"}, "✗ age is missing", "golden predict credit", id="refused"),
        pytest.param(404, b"", "nothing serves credit", "golden status", id="no route"),
        pytest.param(503, b"no healthy upstream", "503 no healthy upstream", "golden doctor", id="no server"),
        pytest.param(200, b"<html>", "is no model server", "golden doctor", id="something else"),
    ],
)
def test_an_answer_that_is_an_error_is_said_in_words(
    served: Any, golden: Any, tmp_path: Path, status: int, page: Any, what: str, fix: str
) -> None:
    served.pages[INFER] = (status, page)
    ended = golden("predict", "credit", written(tmp_path, {"age": 41}))
    assert (ended.status, ended.out) == (1, "")
    assert what in ended.err
    assert fix in ended.err


@pytest.mark.parametrize("text", ["", "{", "[1]", '"age"'])
def test_a_file_that_is_no_json_object_is_named(served: Any, golden: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "row.json"
    file.write_text(text)
    ended = golden("predict", "credit", str(file))
    assert ended.status == 1
    assert str(file) in ended.err
    assert served.asked == []


def test_a_file_that_is_not_there_is_named(served: Any, golden: Any) -> None:
    assert "nowhere.json" in golden("predict", "credit", "nowhere.json").err
    assert served.asked == []


def test_a_platform_without_a_named_proxy_says_so(
    served: Any, golden: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOLDEN_GATEWAY")
    assert "set GOLDEN_GATEWAY" in golden("predict", "credit", written(tmp_path, {"age": 41})).err
    assert served.asked == []
