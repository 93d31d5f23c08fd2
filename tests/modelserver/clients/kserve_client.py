"""KServe's own client, against a server of ours: `kserve_client.py HTTP_URL GRPC_ADDRESS`; it prints what it got.

A process of its own, since its gRPC messages and ours have the same names and can't live in one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import InferInput, InferRequest

ROWS = {
    "age": ("FP64", np.array([41.5, 22.0])),
    "hours": ("FP32", np.array([38.0, 40.0], dtype=np.float32)),
    "dependants": ("INT64", np.array([2, 0], dtype=np.int64)),
    "district": ("INT32", np.array([7, 3], dtype=np.int32)),
    "owner": ("BOOL", np.array([True, False])),
    "occupation": ("BYTES", np.array([b"clerk", b"farmer"], dtype=object)),
}


def request(*, binary: bool) -> InferRequest:
    inputs = []
    for name, (datatype, values) in ROWS.items():
        one = InferInput(name, list(values.shape), datatype)
        one.set_data_from_numpy(values, binary_data=binary)
        inputs.append(one)
    return InferRequest("credit", inputs)


def answer(response: Any) -> dict[str, Any]:
    outputs = {output.name: output.as_numpy().tolist() for output in response.outputs}
    return {"model": response.model_name, "id": response.id} | outputs


async def main(url: str, address: str) -> dict[str, Any]:
    rest, grpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(address)
    return {
        "rest live": await rest.is_server_live(url),
        "rest ready": await rest.is_server_ready(url),
        "rest model ready": await rest.is_model_ready(url, "credit"),
        "rest infer": answer(await rest.infer(url, request(binary=False), model_name="credit")),
        "grpc live": await grpc.is_server_live(),
        "grpc ready": await grpc.is_server_ready(),
        "grpc model ready": await grpc.is_model_ready("credit"),
        "grpc infer": answer(await grpc.infer(request(binary=True))),
        "grpc infer typed": answer(await grpc.infer(request(binary=False))),
    }


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:])), default=text))  # noqa: T201 - what a process has to say
