"""The champion's alias follows what the deployer tells, on a real Kafka."""

from __future__ import annotations

from typing import Any

from goldenpath.deployer.v1 import events_pb2 as deployer_pb2
from goldenpath.ingest.v1 import events_pb2 as ingest_pb2
from goldenpath.registry.v1 import events_pb2 as told
from goldenpath.registry.v1 import registry_service_pb2 as pb
from services.chassis.cloudevents import CloudEvent
from services.chassis.database import Database
from services.chassis.rebuilding import progress_of
from services.chassis.testing import emitted, eventually
from services.registry.commands import Commands
from services.registry.queries import Queries
from services.registry.store import RegistryUnitOfWork
from tests.registry.made_up import ADA, FakeRuns, registration
from tests.registry.wires import Topics


def _news(model: str, body: Any, type_name: str, sequence: int) -> CloudEvent:
    return emitted(body, type_name, subject=f"model/{model}", sequence=sequence, source="goldenpath/deployer")


async def test_the_champion_follows_the_deployer(
    topics: Topics, commands: Commands, queries: Queries, runs: FakeRuns, model: str
) -> None:
    runs.add("run-2")
    for run in ("run-1", "run-2"):
        await commands.register_version(registration(model=model, run=run), ADA)

    def position(stable: int, epoch: int) -> deployer_pb2.Position:
        return deployer_pb2.Position(model=model, environment="production", stable_version=stable, epoch=epoch)

    first = deployer_pb2.DeploymentPromoted(position=position(1, 2))
    second = deployer_pb2.DeploymentPromoted(position=position(2, 4), previous_version=1)
    aborted = deployer_pb2.DeploymentRolledBack(position=position(2, 6), from_version=3, to_version=2, aborted=True)
    back = deployer_pb2.DeploymentRolledBack(position=position(1, 7), from_version=2, to_version=1, reason="drift")
    retired = deployer_pb2.DeploymentRetired(position=position(1, 8))
    for sequence, (body, name) in enumerate(
        [
            (first, "deployment.promoted"),
            (second, "deployment.promoted"),
            (aborted, "deployment.rolled_back"),
            (back, "deployment.rolled_back"),
            (second, "deployment.promoted"),  # a stale one, as after a replay
        ],
        start=1,
    ):
        await topics.tell(_news(model, body, name, sequence), "deployer.events")
    await topics.tell(_news(model, back, "deployment.rolled_back", 4), "deployer.events")  # the same one twice

    async def settled() -> list[Any]:
        heard = await topics.heard("registry.events", f"model/{model}")
        found = [(headers["ce_type"].decode(), value) for headers, value in heard]
        moved = [(name, value) for name, value in found if name != "model.registered"]
        return moved if len(moved) == 3 else []

    moved = await eventually(settled, what="three moves of the alias")
    assert [name for name, _ in moved] == ["model.promoted", "model.promoted", "model.demoted"]
    promoted = told.ModelPromoted.FromString(moved[1][1])
    assert (promoted.version, promoted.previous_version, promoted.alias) == (2, 1, "champion@production")
    demoted = told.ModelDemoted.FromString(moved[2][1])
    assert (demoted.version, demoted.successor_version, demoted.reason) == (2, 1, "drift")
    await topics.tell(_news(model, retired, "deployment.retired", 6), "deployer.events")

    async def ended() -> bool:
        lineage = await queries.get_lineage(pb.GetLineageRequest(model=model, version=1))
        return [(one.epoch, one.HasField("until")) for one in lineage.deployments] == [(2, True), (7, True)]

    await eventually(ended, what="the alias's end")


async def test_lost_aliases_and_projects_are_rebuilt_as_they_were_and_nothing_is_told_again(
    topics: Topics, commands: Commands, registry_database: Database[RegistryUnitOfWork], model: str, runs: FakeRuns
) -> None:
    runs.add("run-2")
    for run in ("run-1", "run-2"):
        await commands.register_version(registration(model=model, run=run), ADA)
    started = ingest_pb2.ProjectStarted(project=model, model=model, owner="risk-team")
    started.started_at.FromJsonString("2026-01-05T09:00:00Z")
    await topics.tell(emitted(started, "project.started", subject=f"model/{model}", sequence=None))
    for sequence, (stable, epoch) in enumerate([(1, 2), (2, 4), (1, 6)], start=1):
        position = deployer_pb2.Position(model=model, environment="production", stable_version=stable, epoch=epoch)
        promoted = deployer_pb2.DeploymentPromoted(position=position)
        await topics.tell(_news(model, promoted, "deployment.promoted", sequence), "deployer.events")
    retired = deployer_pb2.DeploymentRetired(position=deployer_pb2.Position(model=model, epoch=7))
    await topics.tell(_news(model, retired, "deployment.retired", 4), "deployer.events")

    async def known() -> list[tuple[Any, ...]]:
        async with registry_database.read() as connection:
            aliases = await connection.fetch(
                "SELECT alias, version, epoch, since, until FROM aliases WHERE model = $1 ORDER BY epoch", model
            )
            projects = await connection.fetch("SELECT * FROM projects WHERE model = $1", model)
        return [tuple(row) for row in [*aliases, *projects]]

    async def whole() -> list[tuple[Any, ...]]:
        rows = await known()
        return rows if len(rows) == 4 and rows[2][4] is not None else []

    async def over() -> bool:
        async with registry_database.read() as connection:
            found = await progress_of(connection, "registry")
        return found is not None and not found.under_way

    before = await eventually(whole, what="what others told")
    emitted_before = len(await topics.heard("registry.events", f"model/{model}"))
    async with registry_database.begin() as uow:
        await uow.connection.execute("TRUNCATE aliases, projects")
    await topics.consumer.rebuild(actor="olga", reason="truncated by hand")
    await eventually(over, what="the rebuild's end")

    assert await known() == before
    assert len(await topics.heard("registry.events", f"model/{model}")) == emitted_before


async def test_a_promotion_of_a_version_that_is_not_there_yet_waits(
    topics: Topics, commands: Commands, queries: Queries, model: str
) -> None:
    body = deployer_pb2.DeploymentPromoted(
        position=deployer_pb2.Position(model=model, environment="production", stable_version=1, epoch=2)
    )
    await topics.tell(_news(model, body, "deployment.promoted", 1), "deployer.events")
    await commands.register_version(registration(model=model), ADA)
    request = pb.ResolveAliasRequest(model=model, alias="champion@production")
    resolved = await eventually(lambda: queries.resolve_alias(request))
    assert resolved.version.registered.version == 1
