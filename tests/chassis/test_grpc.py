"""A real server and a real client, and what crosses between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from goldenpath.registry.v1 import registry_service_pb2 as messages
from goldenpath.registry.v1 import registry_service_pb2_grpc as services
from services.chassis import telemetry
from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, TooSlow, Unavailable
from services.chassis.grpc_client import LARGEST_MESSAGE_BYTES, Sibling, token_from, translated
from services.chassis.grpc_server import GrpcServer, page_size
from services.chassis.identity import Role, Unauthenticated, caller
from services.chassis.testing import Issuer, eventually

if TYPE_CHECKING:
    from goldenpath.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub as Stub

NAME = "goldenpath.registry.v1.RegistryService"


class Api(services.RegistryServiceServicer):
    """Answers with what a test tells it to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.watched = asyncio.Event()
        self.closed = asyncio.Event()

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the contract's own name
        caller().require(Role.SCIENTIST)
        if self.hold is not None:
            self.held.set()
            await self._held(self.hold)
        if self.error is not None:
            raise self.error
        return messages.GetModelResponse()

    async def _held(self, hold: asyncio.Event) -> None:
        try:
            await hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def WatchVersions(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802, ARG002 - the same
        try:
            yield messages.WatchVersionsResponse()
            self.watched.set()
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.fixture
def api() -> Api:
    return Api()  # type: ignore[abstract] # the other methods stay unimplemented, and nobody calls them


def server_of(api: Api, issuer: Issuer, **more: Any) -> GrpcServer:
    register: Callable[[Any], None] = lambda made: services.add_RegistryServiceServicer_to_server(api, made)  # noqa: E731
    return GrpcServer("127.0.0.1:0", [(NAME, register)], verifier=issuer.verifier(), drain=timedelta(seconds=5), **more)


@pytest.fixture
async def server(api: Api, issuer: Issuer) -> AsyncIterator[GrpcServer]:
    made = server_of(api, issuer)
    await made.start()
    yield made
    await made.stop()


def sibling_with(server: GrpcServer, token: str) -> Sibling:
    return Sibling("registry", f"127.0.0.1:{server.port}", token=lambda: token)


@pytest.fixture
async def sibling(server: GrpcServer, issuer: Issuer) -> AsyncIterator[Sibling]:
    made = sibling_with(server, issuer.token("ada", Role.SCIENTIST))
    yield made
    await made.close()


async def watch(sibling: Sibling) -> AsyncIterator[Any]:
    with translated():
        async for item in stub_of(sibling).WatchVersions(messages.WatchVersionsRequest(), metadata=sibling.metadata()):
            yield item


def stub_of(sibling: Sibling) -> Stub:
    stub: Any = services.RegistryServiceStub(sibling.channel)
    made: Stub = stub
    return made


async def get(sibling: Sibling, *, within: timedelta = timedelta(seconds=5)) -> Any:
    return await sibling.ask(stub_of(sibling).GetModel, messages.GetModelRequest(model="credit"), within=within)


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


async def test_an_answer_that_takes_too_long_is_unavailable(sibling: Sibling, api: Api) -> None:
    api.hold = asyncio.Event()

    with pytest.raises(Unavailable):
        await get(sibling, within=timedelta(milliseconds=100))


async def test_a_call_without_a_deadline_gets_the_servers_and_its_handler_is_cancelled(
    api: Api, issuer: Issuer
) -> None:
    api.hold = asyncio.Event()
    server = server_of(api, issuer, deadline=timedelta(milliseconds=100))
    await server.start()
    sibling = sibling_with(server, issuer.token("ada", Role.SCIENTIST))
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await stub_of(sibling).GetModel(messages.GetModelRequest(), metadata=sibling.metadata())
    await sibling.close()
    await server.stop()

    assert (late.value.code(), late.value.details()) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "it took longer than 0.1 s",
    )
    assert api.cancelled.is_set()


async def test_a_handler_whose_clients_deadline_has_passed_is_cancelled(sibling: Sibling, api: Api) -> None:
    api.hold = asyncio.Event()
    with pytest.raises(TooSlow):
        await sibling.ask(stub_of(sibling).GetModel, messages.GetModelRequest(), within=timedelta(milliseconds=200))

    await eventually(lambda: is_set(api.cancelled), what="the handler's end")


async def is_set(event: asyncio.Event) -> bool:
    return event.is_set()


async def test_a_request_that_is_too_large_is_refused(sibling: Sibling) -> None:
    with pytest.raises(Invalid, match="larger than max"):
        await sibling.ask(stub_of(sibling).GetModel, messages.GetModelRequest(model="x" * LARGEST_MESSAGE_BYTES))


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


async def test_a_call_in_flight_finishes_while_the_server_stops(sibling: Sibling, server: GrpcServer, api: Api) -> None:
    api.hold = asyncio.Event()
    asking = asyncio.ensure_future(get(sibling))
    await api.held.wait()
    stopping = asyncio.ensure_future(server.stop())
    await eventually(lambda: refuses(server), what="refusing new calls")
    api.hold.set()

    assert await asking == messages.GetModelResponse()
    await stopping


async def refuses(server: GrpcServer) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_a_stream_is_ended_when_the_server_stops(sibling: Sibling, server: GrpcServer, api: Api) -> None:
    stream = watch(sibling)
    await anext(stream)
    await api.watched.wait()
    stopping = asyncio.ensure_future(server.stop())

    with pytest.raises(Unavailable, match="going away"):
        await anext(stream)

    async with asyncio.timeout(2):
        await stopping
    assert api.closed.is_set()


async def test_a_stream_that_its_client_left_is_closed(sibling: Sibling, api: Api) -> None:
    call = stub_of(sibling).WatchVersions(messages.WatchVersionsRequest(), metadata=sibling.metadata())
    await call.read()
    await api.watched.wait()
    call.cancel()

    async with asyncio.timeout(5):
        await api.closed.wait()


async def test_an_error_inside_a_stream_arrives_as_it_was_raised(sibling: Sibling, api: Api) -> None:
    api.error = Conflict("the model is retired")
    stream = watch(sibling)
    await anext(stream)

    with pytest.raises(Conflict, match="retired"):
        await anext(stream)


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
