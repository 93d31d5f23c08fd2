"""A real server and a real client, and what crosses between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from goldenpath.registry.v1 import registry_service_pb2 as messages
from services.chassis import telemetry
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable
from services.chassis.grpc_client import Sibling, token_from
from services.chassis.grpc_server import GrpcServer, page_size
from services.chassis.identity import Role, Unauthenticated
from services.chassis.testing import Issuer, eventually
from tests.chassis.rpc import NAME, Api, get, sibling_with, stub_of, watch


async def test_a_call_with_the_right_token_is_answered(sibling: Sibling) -> None:
    assert await get(sibling) == messages.GetModelResponse()


@pytest.mark.parametrize("kind", [Invalid, Denied, NotFound, Conflict, Unavailable])
async def test_an_error_arrives_as_it_was_raised(sibling: Sibling, api: Api, kind: type[GoldenpathError]) -> None:
    api.error = kind("wrong: “ä”", where="model.name", fix="name it")

    with pytest.raises(kind) as caught:
        await get(sibling)

    assert type(caught.value) is kind
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("wrong: “ä”", "model.name", "name it")


async def test_an_unforeseen_error_tells_no_detail(sibling: Sibling, api: Api) -> None:
    api.error = KeyError("password=hunter2")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub_of(sibling).GetModel(messages.GetModelRequest(), metadata=sibling.metadata())

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(caught.value)


async def test_a_sentence_without_end_is_cut_off_rather_than_lost(sibling: Sibling, api: Api) -> None:
    api.error = Invalid("x" * 100_000, where="y" * 100_000, fix="\ud800")

    with pytest.raises(Invalid, match=r"^y{1500}: x{1500} "):
        await get(sibling)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        pytest.param(lambda _: "", Unauthenticated, id="missing"),
        pytest.param(lambda _: "no.token.atall", Unauthenticated, id="malformed"),
        pytest.param(lambda issuer: issuer.token("ada", lifetime=timedelta(seconds=-1)), Unauthenticated, id="expired"),
        pytest.param(lambda issuer: issuer.token("ada", Role.AUDITOR), Denied, id="of the wrong role"),
    ],
)
async def test_a_call_with_a_wrong_token_is_refused(
    server: GrpcServer, issuer: Issuer, token: Callable[[Issuer], str], kind: type[GoldenpathError]
) -> None:
    sibling = sibling_with(server, token(issuer))

    with pytest.raises(kind) as caught:
        await get(sibling)

    assert type(caught.value) is kind
    await sibling.close()


async def test_a_stream_with_a_wrong_token_is_refused(server: GrpcServer) -> None:
    sibling = sibling_with(server, "no.token.atall")

    with pytest.raises(Unauthenticated):
        await anext(watch(sibling))

    await sibling.close()


async def test_a_sibling_that_isnt_there_is_unavailable(issuer: Issuer) -> None:
    sibling = Sibling("registry", "127.0.0.1:1", token=lambda: issuer.token("ada"))

    with pytest.raises(Unavailable):
        await get(sibling)

    await sibling.close()


def test_a_sibling_that_this_installation_lacks_is_named() -> None:
    with pytest.raises(Unavailable, match="this installation has no registry"):
        _ = Sibling("registry", "", token=lambda: "").channel


async def test_a_token_is_read_anew_at_each_call(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = token_from(path)
    assert (token(), token_from(None)()) == ("first", "")
    path.write_text("second")
    assert token() == "second"
    path.unlink()
    with pytest.raises(Unavailable, match="own token can't be read"):
        token()


async def test_an_address_that_is_taken_is_said_in_words(server: GrpcServer, issuer: Issuer) -> None:
    second = GrpcServer(f"127.0.0.1:{server.port}", [], verifier=issuer.verifier(), drain=timedelta())

    with pytest.raises(Unavailable, match="it is taken"):
        await second.start()


async def test_health_needs_no_token_and_says_each_service_serves(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_service(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        untyped: Any = channel  # its types know the synchronous channel only
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        answer = await anext(aiter(stub.ServerReflectionInfo(iter(asked))))

    assert NAME in {service.name for service in answer.list_services_response.service}


async def test_a_call_is_one_trace_on_both_sides(sibling: Sibling, spans: InMemorySpanExporter) -> None:
    with telemetry.span("asking"):
        await get(sibling)

    await eventually(lambda: seen(spans, 3), what="three spans")
    found = {span.context.trace_id for span in spans.get_finished_spans() if span.context is not None}
    assert len(found) == 1


async def seen(spans: InMemorySpanExporter, count: int) -> bool:
    return len(spans.get_finished_spans()) >= count


@pytest.mark.parametrize(("asked", "rows"), [(0, 100), (1, 1), (1000, 1000)])
def test_a_page_has_as_many_rows_as_were_asked_for(asked: int, rows: int) -> None:
    assert page_size(asked) == rows


@pytest.mark.parametrize("asked", [-1, 1001, 1_000_000_000])
def test_a_page_that_makes_no_sense_is_refused(asked: int) -> None:
    with pytest.raises(Invalid, match="1 to 1000 rows"):
        page_size(asked)
