"""Which inputs of a version come from the feature store, and from which views, as they were defined at registration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from services.chassis.errors import Invalid
from services.registry.domain import names
from services.registry.domain.signatures import input_types

_LONGEST_DEADLINE: Final = 10.0  # seconds; whoever can wait longer has no use for an online store
_MOST_VIEWS: Final = 64  # of one feature service
_MOST_INPUTS: Final = 10_000  # of one view


class Fallback(Enum):
    """What a model server answers with where the store gives no value."""

    MISSING = "missing"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class View:
    """A feature view. The meaning and the units stand in the contract's FeatureView; a ttl of 0 is none."""

    name: str
    digest: str
    inputs: tuple[str, ...]
    keys: tuple[str, ...]
    ttl_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Features:
    """What is read for a version; the meaning and the units stand in the contract's FeatureSettings."""

    service: str
    views: tuple[View, ...]
    deadline_seconds: float
    fallback: Fallback


def checked(features: Features | None) -> Features | None:
    """The settings in their kept form: views, inputs and keys in the order of their names.

    Raises:
        Invalid: something in them is malformed, or two views give the same input.
    """
    if features is None:
        return None
    if not 0 < names.finite(features.deadline_seconds, where="features.deadline") <= _LONGEST_DEADLINE:
        raise Invalid("a read takes longer than no time, and at most ten seconds", where="features.deadline")
    if not 1 <= len(features.views) <= _MOST_VIEWS:
        raise Invalid(f"a feature service has 1 to {_MOST_VIEWS} views", where="features.views")
    views = sorted((_checked_view(view) for view in features.views), key=lambda view: view.name)
    _check_once((view.name for view in views), "view")
    _check_once((name for view in views for name in view.inputs), "input")
    return replace(features, service=_name(features.service, where="features.service"), views=tuple(views))


def _checked_view(view: View) -> View:
    where = f"features.views[{_name(view.name, where='features.views')}]"
    if not view.keys or not 1 <= len(view.inputs) <= _MOST_INPUTS:
        raise Invalid(f"a view has a key, and gives 1 to {_MOST_INPUTS:,} inputs", where=where)
    if names.finite(view.ttl_seconds, where=f"{where}.ttl") < 0:
        raise Invalid("a value can't live for less than no time", where=f"{where}.ttl")
    return replace(
        view,
        digest=names.digest(view.digest, where=f"{where}.digest"),
        inputs=tuple(sorted(_name(name, where=f"{where}.inputs") for name in view.inputs)),
        keys=tuple(sorted(_name(name, where=f"{where}.keys") for name in view.keys)),
    )


def _name(text: str, *, where: str) -> str:
    kept = names.text(text, where=where)
    if not kept:
        raise Invalid("it has no name", where=where)
    return kept


def _check_once(given: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in given:
        if name in seen:
            raise Invalid(f"the {what} {name[:80]!r} occurs twice", where="features.views")
        seen.add(name)


def fitted(features: Features | None, signature_json: str) -> Features | None:
    """What of the settings a version can use: the inputs that its signature has, and the views that give any.

    Two versions of one project may take different inputs of the same service; and one that takes none reads none.

    Raises:
        Invalid: the version has no signature, so that nobody could say which inputs it takes.

    >>> view = View("card", "0" * 64, ("count", "mean"), ("customer",))
    >>> signature = '{"inputs": [{"name": "mean", "type": "double"}]}'
    >>> fitted(Features("fraud", (view,), 0.05, Fallback.MISSING), signature).views[0].inputs
    ('mean',)
    """
    if features is None:
        return None
    if not signature_json:
        raise Invalid("the model has no signature", where="features", fix="log it with an input example")
    taken = input_types(signature_json)
    views = tuple(
        replace(view, inputs=inputs)
        for view in features.views
        if (inputs := tuple(name for name in view.inputs if name in taken))
    )
    return replace(features, views=views) if views else None
