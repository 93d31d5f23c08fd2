"""Model servers, asked directly by the Open Inference Protocol, and not through the proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import httpx
import numpy as np
from opentelemetry.propagate import inject

from services.chassis.errors import Conflict, Unavailable
from services.deployer.domain.losses import Values
from services.deployer.domain.routing import Address

_BATCH: Final = 500
_REPLAY: Final = timedelta(seconds=10)
_SCORE: Final = "score"
_AS_REPLAY: Final = {"x-goldenpath-arm": "replay"}  # rows are whole then: nothing is read from the feature store


class HttpServers:
    """Model servers by the Open Inference Protocol."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=_REPLAY.total_seconds(), trust_env=False)

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def check(self, model: str, address: Address, example: str) -> None:
        """Let a server predict its registered input example.

        Raises:
            Conflict: it can't.
        """
        if not example:
            return
        await self._infer(model, address, example)

    async def scores(self, model: str, address: Address, columns: Mapping[str, Sequence[Any]]) -> Values:
        """Let a server predict records again, in batches, without recording them.

        Raises:
            Conflict: it refuses them: an input is missing, say.
            Unavailable: it doesn't answer.
        """
        datatypes = await self._datatypes(model, address)
        missing = sorted(datatypes.keys() - columns.keys())
        if missing:
            raise Conflict(f"the records have no {', '.join(missing)}")
        rows = len(next(iter(columns.values()), ()))
        made: list[float] = []
        for start in range(0, rows, _BATCH):
            stop = min(start + _BATCH, rows)
            inputs = [
                _tensor(name, datatype, columns[name][start:stop]) for name, datatype in sorted(datatypes.items())
            ]
            answer = await self._infer(model, address, json.dumps({"inputs": inputs}))
            output = next(one for one in answer["outputs"] if one["name"] == _SCORE)
            made.extend(float(value) for value in output["data"])
        return np.array(made)

    async def _datatypes(self, model: str, address: Address) -> dict[str, str]:
        url = f"http://{address.http}/v2/models/{model}"
        metadata = await self._answer(self._client.get(url, headers=_AS_REPLAY))
        return {str(one["name"]): str(one["datatype"]) for one in metadata["inputs"]}

    async def _infer(self, model: str, address: Address, body: str) -> dict[str, Any]:
        headers = {"content-type": "application/json"} | _AS_REPLAY
        inject(headers)
        url = f"http://{address.http}/v2/models/{model}/infer"
        return await self._answer(self._client.post(url, content=body, headers=headers))

    async def _answer(self, asking: Any) -> dict[str, Any]:
        try:
            response: httpx.Response = await asking
        except httpx.HTTPError as error:
            raise Unavailable(f"a model server doesn't answer: {type(error).__name__}") from None
        if response.is_error:
            raise Conflict(f"the model server refuses: {response.text[:300]}")
        found: dict[str, Any] = await asyncio.to_thread(response.json)
        return found


def _tensor(name: str, datatype: str, values: Sequence[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [len(values)],
        "datatype": datatype,
        "data": [_value(datatype, value) for value in values],
    }


def _value(datatype: str, value: Any) -> Any:
    if value is None or value != value:  # noqa: PLR0124 - NaN, which JSON can't say
        return None
    if datatype.startswith("INT"):
        return int(value)
    return bool(value) if datatype == "BOOL" else value
