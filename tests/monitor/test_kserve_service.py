"""What KServe's logger posts to a monitor that runs: watched, or refused in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from goldenpath.monitor.v1 import monitor_service_pb2 as pb
from services.chassis.identity import Role
from services.chassis.testing import eventually
from tests.monitor.running import Running


def posted(request: str, *, kind: str = "request") -> dict[str, str]:
    """The headers that KServe's logger sends."""
    return {
        "ce-specversion": "1.0",
        "ce-id": request,
        "ce-type": f"org.kubeflow.serving.inference.{kind}",
        "ce-source": "http://localhost:9081/",
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-inferenceservicename": "credit",
        "ce-namespace": "default",
        "ce-component": "predictor",
        "ce-endpoint": "",
        "content-type": "application/json",
    }


LOGGER = "/v1/kserve/credit/1"


async def test_what_kserves_logger_posts_is_watched(monitor: Running) -> None:
    asked = {"instances": [{"age": 40, "education": "college", "gains": 0.0}] * 3}
    secret = monitor.issuer.token("kserve", Role.SERVICE)
    async with monitor.http() as client:
        client.headers.pop("authorization")
        for request in ("a", "b"):
            answer = await client.post(
                LOGGER, json=asked, headers=posted(request), auth=httpx.BasicAuth("logger", secret)
            )
            assert answer.status_code == httpx.codes.ACCEPTED
            assert answer.json() == {"records": 3}
            told = {"predictions": [0.1, 0.2, 0.3]}
            headers = posted(request, kind="response")
            answer = await client.post(LOGGER, json=told, headers=headers, auth=httpx.BasicAuth("logger", secret))
            assert answer.status_code == httpx.codes.ACCEPTED

    async def seen() -> bool:
        report = await monitor.ask(monitor.stub.GetReport, pb.GetReportRequest(model="credit"))
        return report is not None and report.rows_seen == 6

    await eventually(seen, within=timedelta(seconds=30))


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        pytest.param(LOGGER, {"ce-type": "something.else"}, b"{}", 400, id="another type"),
        pytest.param(LOGGER, {"ce-id": ""}, b'{"instances": [{"a": 1}]}', 400, id="no id"),
        pytest.param(LOGGER, {"ce-time": "noon"}, b'{"instances": [{"a": 1}]}', 400, id="no time"),
        pytest.param(LOGGER, {}, b"\x00\x01", 400, id="binary"),
        pytest.param(LOGGER, {}, b'{"instances": [[1]]}', 400, id="values without names"),
        pytest.param("/v1/kserve/credit/none", {}, b"{}", 400, id="no version"),
        pytest.param(LOGGER, {}, b" " * 1_000_000, 413, id="too large"),
        pytest.param(LOGGER, {"authorization": "Basic nonsense"}, b"{}", 401, id="nobody"),
    ],
)
async def test_what_cannot_be_taken_from_kserves_logger_is_refused_in_words(
    monitor: Running, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with monitor.http() as client:
        answer = await client.post(path, content=body, headers=posted("a") | headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
