from __future__ import annotations

from collections.abc import Callable

from goldenpath.deployer.v1 import deployer_service_pb2 as service_pb2
from services.chassis.testing import eventually
from tests.deployer.conftest import Deployer


async def has(deployer: Deployer, condition: Callable[[service_pb2.Servers], bool]) -> service_pb2.Servers:
    """What is told of version 1's servers, once that is so."""

    async def told() -> service_pb2.Servers | None:
        (servers,) = (await deployer.state()).servers
        return servers if condition(servers) else None

    found: service_pb2.Servers = await eventually(told, what="version 1's servers")
    return found


async def test_servers_that_die_in_a_row_are_told_with_the_last_ones_words_until_one_gets_ready(
    deployer: Deployer,
) -> None:
    await deployer.deployed(1)
    before = await has(deployer, lambda servers: servers.ready == 2)
    deployer.runtime.broken.add(1)
    await deployer.runtime.die(1)
    meanwhile = await has(deployer, lambda servers: servers.deaths > 1)
    deployer.runtime.broken.clear()
    after = await has(deployer, lambda servers: servers.ready == 2)

    assert before == after == service_pb2.Servers(version=1, wanted=2, ready=2)
    assert (meanwhile.ready, meanwhile.last_words) == (1, "can't start: version 1 is broken")
