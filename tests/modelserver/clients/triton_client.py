"""NVIDIA Triton's own clients, against a server of ours: `triton_client.py HTTP_ADDRESS GRPC_ADDRESS`.

A process of its own, since its gRPC messages and ours have the same names and can't live in one.
"""

# mypy: disable-error-code="no-untyped-call"
# tritonclient ships no types.

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

ROWS = {
    "age": ("FP64", np.array([[41.5], [22.0]])),
    "hours": ("FP32", np.array([[38.0], [40.0]], dtype=np.float32)),
    "dependants": ("INT64", np.array([[2], [0]], dtype=np.int64)),
    "district": ("INT32", np.array([[7], [3]], dtype=np.int32)),
    "owner": ("BOOL", np.array([[True], [False]])),
    "occupation": ("BYTES", np.array([[b"clerk"], [b"farmer"]], dtype=object)),
}


def tensors(api: Any, **options: Any) -> list[Any]:
    inputs = []
    for name, (datatype, values) in ROWS.items():
        one = api.InferInput(name, list(values.shape), datatype)
        one.set_data_from_numpy(values, **options)
        inputs.append(one)
    return inputs


def answer(result: Any) -> dict[str, Any]:
    return {name: result.as_numpy(name).tolist() for name in ("score", "label")}


def refusal(api: Any, client: Any, **options: Any) -> str:
    try:
        client.infer("debit", tensors(api, **options))
    except InferenceServerException as error:
        return str(error.message())
    return "none"


def over(api: Any, client: Any, **options: Any) -> dict[str, Any]:
    """Everything that the client can ask; `options` say how it sends its numbers."""
    wanted = [api.InferRequestedOutput("label", **options)]
    metadata = client.get_model_metadata("credit")
    inputs = (
        [one["name"] for one in metadata["inputs"]]
        if isinstance(metadata, dict)
        else [one.name for one in metadata.inputs]
    )
    chosen = client.infer("credit", tensors(api, **options), outputs=wanted)
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("credit", "3"),
        "inputs": inputs,
        "infer": answer(client.infer("credit", tensors(api, **options), model_version="3")),
        "only the label": chosen.as_numpy("score") is None,
        "refusal": refusal(api, client, **options),
    }


def main(http: str, grpc: str) -> dict[str, Any]:
    return {
        "http": over(over_http, over_http.InferenceServerClient(http), binary_data=False),
        "grpc": over(over_grpc, over_grpc.InferenceServerClient(grpc)),
    }


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=text))  # noqa: T201 - what a process has to say
