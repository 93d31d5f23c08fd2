"""Feature values written: the views of a feature store, and what is pushed of them, online.

Pushing goes by the store's own class (`online_store`, `redis_store`), so a late value never overwrites a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from feast import Entity, FeatureStore, FeatureView, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from services.chassis.errors import Invalid, Unavailable
from services.features.definitions import Repo, load
from services.features.online_store import Written
from services.features.shapes import Kind, Row, Shape

_KINDS: Final = {
    ValueType.STRING: (Kind.TEXT, "string_val"),
    ValueType.INT64: (Kind.WHOLE, "int64_val"),
    ValueType.INT32: (Kind.WHOLE, "int32_val"),
    ValueType.DOUBLE: (Kind.NUMBER, "double_val"),
    ValueType.FLOAT: (Kind.NUMBER, "float_val"),
    ValueType.BOOL: (Kind.FLAG, "bool_val"),
}


class Writer:
    """Writes into a feature store.

    Args:
        settings: The store's feature_store.yaml.
        repo: The feature repository, which is applied first; None: what was applied already.

    Raises:
        Unavailable: the store doesn't answer.
        Invalid: a view can't be pushed, or keeps its history elsewhere than in a table of PostgreSQL.
    """

    def __init__(self, settings: Path, repo: Path | None) -> None:
        wanted = repo_of(repo) if repo is not None else None
        try:
            self._store = FeatureStore(fs_yaml_file=settings)
            if wanted is not None:
                self._store.apply(wanted.everything())
            self._views = {view.name: view for view in self._store.list_feature_views()}
            entities = {entity.name: entity for entity in self._store.list_entities()}
        except Exception as error:  # whatever a store's own client raises
            raise Unavailable(f"the feature store can't be opened: {type(error).__name__}: {error!s:.300}") from error
        self.shapes = {name: shape_of(view, entities) for name, view in self._views.items()}
        """By view, how its rows look."""
        self._fields = {name: _fields_of(view, entities) for name, view in self._views.items()}

    def write(self, view: str, rows: Sequence[Row]) -> None:
        """Push rows online, where nothing newer is there.

        Raises:
            Unavailable: the store doesn't answer.
        """
        fields, shape = self._fields[view], self.shapes[view]
        data: list[Written] = [
            (
                EntityKey(
                    join_keys=list(shape.keys), entity_values=[_value(fields[key], row.keys[key]) for key in shape.keys]
                ),
                {name: _value(fields[name], row.values.get(name)) for name in shape.values},
                row.event_time,
                None,
            )
            for row in rows
        ]
        provider = self._store._get_provider()  # noqa: SLF001 - the public call goes by way of a data frame, at ten times the cost
        try:
            provider.online_write_batch(self._store.config, self._views[view], data, None)
        except Exception as error:  # whatever a store's own client raises
            raise Unavailable(f"the online store fails: {type(error).__name__}: {error!s:.200}") from error

    async def close(self) -> None:
        """End the connections."""
        await self._store.close()


def repo_of(folder: Path) -> Repo:
    """A feature repository that can be pushed.

    Raises:
        NotFound: the folder holds none.
        Invalid: it can't be read, or a view can't be pushed, or keeps its history elsewhere.
    """
    repo = load(folder)
    for view in repo.views.values():
        shape_of(view, repo.entities)
    return repo


def shape_of(view: FeatureView, entities: Mapping[str, Entity]) -> Shape:
    """How a view's rows look.

    Raises:
        Invalid: a column's type can't be kept, or the history isn't a table of PostgreSQL.
    """
    source: Any = view.batch_source
    if not isinstance(source, PostgreSQLSource) or not source._postgres_options._table:  # noqa: SLF001 - told nowhere else
        raise Invalid(
            "its history is kept elsewhere",
            where=f"feature view {view.name}",
            fix="give it PostgreSQLSource(table=…, timestamp_field=…, created_timestamp_column=…)",
        )
    if not source.created_timestamp_column:
        raise Invalid(
            "nothing says when a row was kept", where=f"feature view {view.name}", fix="created_timestamp_column=…"
        )
    return Shape(
        view.name,
        source._postgres_options._table,  # noqa: SLF001 - told nowhere else
        {entities[name].join_key: _kind(entities[name].value_type, view)[0] for name in sorted(view.entities)},
        {field.name: _kind(field.dtype.to_value_type(), view)[0] for field in view.features},
        source.timestamp_field,
        source.created_timestamp_column,
    )


def _fields_of(view: FeatureView, entities: Mapping[str, Entity]) -> dict[str, str]:
    keys = {entities[name].join_key: entities[name].value_type for name in view.entities}
    values = {field.name: field.dtype.to_value_type() for field in view.features}
    return {name: _kind(kind, view)[1] for name, kind in (keys | values).items()}


def _kind(kind: ValueType, view: FeatureView) -> tuple[Kind, str]:
    if kind not in _KINDS:
        raise Invalid(f"a {kind.name} can't be pushed", where=f"feature view {view.name}")
    return _KINDS[kind]


def _value(field: str, value: Any) -> Value:
    return Value() if value is None else Value(**{field: value})
