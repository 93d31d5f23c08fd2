"""What the registry does when something is asked of it, or told: each in the transaction that its edge opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis import telemetry
from services.chassis.errors import Invalid
from services.registry import events, reads
from services.registry.domain import aliases, datasets, models, versions
from services.registry.domain.aliases import Pointing
from services.registry.domain.datasets import Dataset, DatasetInput
from services.registry.domain.models import Actor, Model
from services.registry.domain.registrations import Registration
from services.registry.domain.versions import Brought, Version
from services.registry.store import RegistryUnitOfWork


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run whose files are in the artifact store.

    Args:
        brought: What it brought.
        profile: Its reference profile's bytes; empty where it logged no reference rows.
        seasonal: True where the profile knows each hour of the week.
    """

    brought: Brought
    profile: bytes = b""
    seasonal: bool = False


async def register_version(
    asked: Registration, run: ImportedRun, actor: Actor, uow: RegistryUnitOfWork
) -> tuple[Version, bool]:
    """Register a version with its datasets and its model; True where its bytes are new.

    Raises:
        Invalid: something that it asks for doesn't fit the run, or is malformed.
    """
    if asked.drift.seasonal and not run.seasonal:
        raise Invalid(
            "the run's reference rows don't tell when they came",
            where="drift.seasonal",
            fix="log them with log_reference(…, time_order=moments), or leave seasonal out",
        )
    await uow.store.take_turn()
    documented = [await _document(given, actor, uow) for given in asked.datasets]
    model, changed = await _describe(asked, actor, uow)
    known = await uow.store.version_of_bytes(asked.model, run.brought.artifact_digest)
    telemetry.about(model.name, known.number if known else model.latest_version + 1)
    if known is None:
        return await _add(asked, run, model, documented, actor, uow), True
    missing = versions.forgotten_refs(known, (dataset.ref for dataset in documented), actor)
    await uow.store.add_refs(known, missing)
    if changed or missing:
        known = replace(known, facts=model.facts, datasets=known.datasets + missing)
        events.tell_registered(known, uow)
    return known, False


async def _describe(asked: Registration, actor: Actor, uow: RegistryUnitOfWork) -> tuple[Model, bool]:
    known = await uow.store.model(asked.model)
    model = models.revised(known, asked.facts, actor) if known else Model(asked.model, asked.facts, uow.now)
    if model != known:
        await uow.store.save_model(model)
    return model, model != known


async def _add(
    asked: Registration,
    run: ImportedRun,
    model: Model,
    documented: list[Dataset],
    actor: Actor,
    uow: RegistryUnitOfWork,
) -> Version:
    version = versions.registered(
        asked,
        run.brought,
        number=model.latest_version + 1,
        facts=model.facts,
        refs=tuple(dataset.ref for dataset in documented),
        actor=actor,
        now=uow.now,
        traceparent=telemetry.current_traceparent(),
    )
    await uow.store.save_model(replace(model, latest_version=version.number))
    await uow.store.add_version(version, run.profile)
    events.tell_registered(version, uow)
    return version


async def register_dataset(given: DatasetInput, actor: Actor, uow: RegistryUnitOfWork) -> tuple[Dataset, bool]:
    """Register a dataset or a new revision of its datasheet; True where anything changed."""
    await uow.store.take_turn()
    before = await uow.store.dataset_of_bytes(given.name, given.digest)
    after = await _document(given, actor, uow)
    return after, after != before


async def _document(given: DatasetInput, actor: Actor, uow: RegistryUnitOfWork) -> Dataset:
    known = await uow.store.dataset_of_bytes(given.name, given.digest)
    if known is None:
        number = await uow.store.next_dataset_version(given.name)
        dataset = Dataset(given.name, number, given.digest, 1, given.sheet, actor)
    else:
        dataset = datasets.revised(known, given, actor)
    if dataset != known:
        await uow.store.save_dataset(dataset, uow.now)
        events.tell_dataset(dataset, uow)
    return dataset


async def retire_version(
    model: str, number: int, reason: str, actor: Actor, uow: RegistryUnitOfWork, *, serves: Sequence[str]
) -> Version:
    """Take a version out of use for good, unless it serves in one of these environments; its history stays."""
    await uow.store.take_turn()
    version = versions.retired(await reads.get_version(uow.connection, model, number), reason, serves=serves)
    await uow.store.retire(version)
    events.tell_retired(version, actor, reason, uow)
    telemetry.about(model, number)
    return version


async def start_project(name: str, model: str, owner: str, started_at: datetime, uow: RegistryUnitOfWork) -> None:
    """Note when a project began."""
    await uow.store.start_project(name, model, owner, started_at)


async def promote(pointing: Pointing, uow: RegistryUnitOfWork) -> None:
    """Move an alias to the version that serves now; older news changes nothing."""
    before = await uow.store.newest_pointing(pointing.model, pointing.alias)
    if not aliases.moves(before, pointing.epoch):
        return
    await _point(pointing, uow)
    left = before.version if before and before.until is None else 0
    events.tell_promoted(pointing, left, uow)
    telemetry.about(pointing.model, pointing.version)


async def demote(pointing: Pointing, taken_back: int, reason: str, uow: RegistryUnitOfWork) -> None:
    """Move an alias back to the version that serves again; older news changes nothing."""
    before = await uow.store.newest_pointing(pointing.model, pointing.alias)
    if not aliases.moves(before, pointing.epoch):
        return
    await _point(pointing, uow)
    events.tell_demoted(pointing, taken_back, reason, uow)
    telemetry.about(pointing.model, taken_back)


async def _point(pointing: Pointing, uow: RegistryUnitOfWork) -> None:
    await reads.get_version(uow.connection, pointing.model, pointing.version)
    await uow.store.end_pointing(pointing.model, pointing.alias, pointing.since)
    await uow.store.add_pointing(pointing)


async def end_alias(model: str, alias: str, epoch: int, until: datetime, uow: RegistryUnitOfWork) -> None:
    """Nothing of the model serves any more: the alias points nowhere, and its history stays."""
    newest = await uow.store.newest_pointing(model, alias)
    if newest is not None and epoch >= newest.epoch:
        await uow.store.end_pointing(model, alias, until)


async def forget_what_others_told(uow: RegistryUnitOfWork) -> None:
    """Forget the read model, aliases and projects: a rebuild tells it again."""
    await uow.store.forget_aliases()
    await uow.store.forget_projects()
