"""A feature repository read: which views a feature service has, what each gives, and a digest of how it is defined.

The repository's Python files are run, as Feast runs them. A digest is over what makes a value what it is: the view's
name, its features and entities with their types, where its rows come from, and how long they live. Who changes any of
that has another view, and whoever trained on the old one wants to know. Descriptions, owners and tags aren't in it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

from feast import Entity, FeatureService, FeatureView
from feast.data_source import DataSource
from feast.feature_view_projection import FeatureViewProjection
from google.protobuf.json_format import MessageToDict

from services.chassis.errors import Invalid, NotFound

_NOT_MEANT: Final = ("meta", "description", "tags", "owner")  # of a source: what changes no value


@dataclass(frozen=True, slots=True)
class View:
    """One view, as a feature service uses it.

    Args:
        name: In the repository.
        digest: SHA-256 over its definition, 64 hex digits.
        inputs: The features that the service takes of it, sorted.
        keys: The join keys by which it is asked, sorted.
        ttl: How old a value may be to be served; None: any age.
    """

    name: str
    digest: str
    inputs: tuple[str, ...]
    keys: tuple[str, ...]
    ttl: timedelta | None


@dataclass(frozen=True, slots=True)
class Repo:
    """What a feature repository defines, by name."""

    entities: dict[str, Entity]
    views: dict[str, FeatureView]
    services: dict[str, FeatureService]
    sources: dict[str, DataSource]

    def everything(self) -> list[Any]:
        """All of it, as Feast applies it."""
        return [
            *self.sources.values(),
            *self.entities.values(),
            *self.views.values(),
            *self.services.values(),
        ]


def load(folder: Path) -> Repo:
    """Run a repository's files, and gather what they define.

    Raises:
        NotFound: the folder holds none.
        Invalid: a file raises an error, or two definitions of one kind have the same name.
    """
    repo = Repo({}, {}, {}, {})
    kinds = ((Entity, repo.entities), (FeatureView, repo.views), (FeatureService, repo.services))
    files = sorted(folder.glob("*.py"))
    if not files:
        raise NotFound("no Python file defines features here", where=str(folder))
    for found in _defined(files, folder):
        for kind, known in (*kinds, (DataSource, repo.sources)):
            if isinstance(found, kind):
                _keep(known, found)
    return repo


def _defined(files: Sequence[Path], folder: Path) -> Iterator[Any]:
    with _importable(folder):
        for file in files:
            spec = spec_from_file_location(f"feature_repository_{file.stem}", file)
            if spec is None or spec.loader is None:
                continue
            module = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # whatever somebody's file raises
                raise Invalid(f"{type(error).__name__}: {error!s:.300}", where=_place(error, file)) from error
            yield from vars(module).values()


def _place(error: Exception, file: Path) -> str:
    """At which line of a file an error came up."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


def _keep(known: dict[str, Any], found: Any) -> None:
    if known.setdefault(found.name, found) != found:
        raise Invalid(f"two definitions have the name {found.name}", where="features.repo")


def views_of(folder: Path, service: str) -> tuple[View, ...]:
    """The views of a feature service, by name, each as the service uses it.

    Raises:
        NotFound: the repository has no such service.
        Invalid: the service uses a view in a way that can't be served.
    """
    repo = load(folder)
    if service not in repo.services:
        known = ", ".join(sorted(repo.services)) or "none"
        raise NotFound(f"the feature repository has no service {service}; it has: {known}", where="features.service")
    return service_views(repo.services[service], repo.views, repo.entities)


def service_views(
    service: FeatureService, views: dict[str, FeatureView], entities: dict[str, Entity]
) -> tuple[View, ...]:
    """The views of a feature service, by name; the definitions are the repository's or the store's."""
    found = (_used(projection, views, entities) for projection in service.feature_view_projections)
    return tuple(sorted(found, key=lambda view: view.name))


def _used(projection: FeatureViewProjection, views: dict[str, FeatureView], entities: dict[str, Entity]) -> View:
    view = views.get(projection.name)
    if view is None or projection.name_alias or projection.join_key_map:
        name = projection.name_alias or projection.name
        raise Invalid(
            f"{name} can't be served: it is computed on demand, or used under another name",
            where="features.service",
            fix="use plain feature views, under their own names",
        )
    return View(
        name=view.name,
        digest=digest_of(view, entities),
        inputs=tuple(sorted(field.name for field in projection.features)),
        keys=tuple(sorted(_join_keys(view, entities))),
        ttl=view.ttl or None,
    )


def _join_keys(view: FeatureView, entities: dict[str, Entity]) -> list[str]:
    return [entities[name].join_key for name in view.entities if name in entities]


def digest_of(view: FeatureView, entities: dict[str, Entity]) -> str:
    """SHA-256 over a view's definition, 64 hex digits; the order in which things were written doesn't count."""
    said = {
        "name": view.name,
        "features": sorted([field.name, str(field.dtype)] for field in view.features),
        "keys": sorted([name, entities[name].join_key, entities[name].value_type.name] for name in view.entities),
        "ttl_seconds": view.ttl.total_seconds() if view.ttl else None,
        "sources": [_source(source) for source in (view.batch_source, view.stream_source) if source is not None],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _source(source: DataSource) -> dict[str, Any]:
    said: dict[str, Any] = MessageToDict(source.to_proto(), preserving_proto_field_name=True)
    said.pop("batch_source", None)  # of a push source: the view names it itself
    return {name: value for name, value in said.items() if name not in _NOT_MEANT}
