"""Calls that take too long or are too large are ended; what runs meanwhile ends well."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest

from goldenpath.registry.v1 import registry_service_pb2 as messages
from services.chassis.errors import Conflict, Invalid, TooSlow, Unavailable
from services.chassis.grpc_client import LARGEST_MESSAGE_BYTES, Sibling
from services.chassis.grpc_server import GrpcServer
from services.chassis.identity import Role
from services.chassis.testing import Issuer, eventually
from tests.chassis.rpc import Api, get, server_of, sibling_with, stub_of, watch


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

    assert await get(sibling) == messages.GetModelResponse()


async def test_an_answer_that_is_too_large_is_refused_and_says_so(sibling: Sibling, api: Api) -> None:
    api.answer = messages.GetModelResponse(model=messages.Model(name="x" * LARGEST_MESSAGE_BYTES))
    for _ in range(6):  # it did answer: more of these than open the breaker
        with pytest.raises(Invalid, match="larger than max"):
            await get(sibling)
    api.answer = messages.GetModelResponse()

    assert await get(sibling) == api.answer


async def test_a_call_in_flight_finishes_while_the_server_stops(sibling: Sibling, server: GrpcServer, api: Api) -> None:
    api.hold = asyncio.Event()
    asking = asyncio.ensure_future(get(sibling))
    await api.held.wait()
    stopping = asyncio.ensure_future(server.stop())
    await eventually(lambda: refuses(server), what="refusing new calls")
    api.hold.set()

    assert await asking == messages.GetModelResponse()
    await stopping


async def test_a_stream_is_ended_when_the_server_stops(sibling: Sibling, server: GrpcServer, api: Api) -> None:
    stream = watch(sibling)
    await anext(stream)
    await api.watched.wait()
    stopping = asyncio.ensure_future(server.stop())

    with pytest.raises(Unavailable, match="going away"):
        await anext(stream)

    async with asyncio.timeout(4):  # less than the server's drain
        await stopping
    assert api.closed.is_set()


async def test_a_stream_that_its_client_left_is_closed(sibling: Sibling, api: Api) -> None:
    call = stub_of(sibling).WatchVersions(messages.WatchVersionsRequest(), metadata=sibling.metadata())
    await call.read()
    await api.watched.wait()
    call.cancel()

    async with asyncio.timeout(20):
        await api.closed.wait()


async def test_an_error_inside_a_stream_arrives_as_it_was_raised(sibling: Sibling, api: Api) -> None:
    api.error = Conflict("the model is retired")
    stream = watch(sibling)
    await anext(stream)

    with pytest.raises(Conflict, match="retired"):
        await anext(stream)


async def refuses(server: GrpcServer) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
