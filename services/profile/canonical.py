"""A profile as bytes: JSON with sorted keys, no spaces and the shortest decimals that give the same doubles.

A person can read it, and equal profiles give equal bytes on every machine, so its SHA-256 names it. Reading checks
everything that the rest relies on, since the bytes come from elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from services.chassis.errors import Invalid
from services.profile.binning import MOST_BINS
from services.profile.expected import LEAF, MOST_KNOTS, MOST_NODES, Calibration, Expected, LossTree
from services.profile.reference import CELLS, Feature, Kind, ReferenceProfile, Role, Seasons
from services.profile.relations import MOST_PAIRS, NO_CUT, Relations, none
from services.profile.vectors import MOST_WIDTH, Vector

FORMAT = "goldenpath.reference-profile/1"
_WHOLE = ("features", "below", "above", "missing_below")  # numbers of a tree's nodes
_REAL = ("limits", "absolute", "square", "fourth")
_RELATIONS = ("cuts", "first", "second", "together")
LEAST_BINS = 2  # of a feature that is wholly missing in the reference
MOST_BYTES = 4 * 2**20  # what the registry's GetProfile carries


def write(profile: ReferenceProfile) -> bytes:
    """The profile's canonical bytes."""
    document: dict[str, object] = {
        "format": FORMAT,
        "rows": profile.rows,
        "features": [_document_of(feature) for feature in profile.features],
    }
    if len(profile.relations):
        document["relations"] = {name: getattr(profile.relations, name).tolist() for name in _RELATIONS}
    if profile.vectors:
        document["vectors"] = {vector.name: vector.mean.tolist() for vector in profile.vectors}
    if profile.seasons is not None:
        held = np.flatnonzero(profile.seasons.counts.any(axis=1)).tolist()
        document["seasons"] = {
            "counts": {str(cell): profile.seasons.counts[cell].tolist() for cell in held},
            "overdispersion": profile.seasons.overdispersion.tolist(),
        }
    if profile.expected is not None:
        document["expected"] = _document_of_expected(profile.expected)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read(data: bytes) -> ReferenceProfile:
    """The profile of its canonical bytes; Invalid where they aren't exactly what `write` gives."""
    if len(data) > MOST_BYTES:
        raise Invalid(f"a reference profile has at most {MOST_BYTES} bytes, this has {len(data)}")
    try:
        profile = _profile_of(json.loads(data))
        again = write(profile)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError) as error:
        raise Invalid(f"isn't a reference profile: {error!r}") from error
    if again != data:
        raise Invalid("isn't a reference profile in its canonical form")
    return profile


def _document_of(feature: Feature) -> dict[str, object]:
    document: dict[str, object] = {
        "name": feature.name,
        "kind": feature.kind.value,
        "role": feature.role.value,
        "counts": feature.counts.tolist(),
        "overdispersion": feature.overdispersion,
    }
    if feature.kind is Kind.CATEGORICAL:
        return document | {"categories": list(feature.categories)}
    return document | {
        "edges": feature.edges.tolist(),
        "values": feature.values.tolist(),
        "deviation": feature.deviation,
    }


def _profile_of(document: Any) -> ReferenceProfile:
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
    features = tuple(_feature_of(each) for each in document["features"])
    relations = _relations_of(document["relations"], features) if "relations" in document else none(len(features))
    profile = ReferenceProfile(int(document["rows"]), features, relations)
    _expect(bool(np.all(relations.together <= profile.rows)), "more rows go together than there are")
    if "seasons" in document:
        profile = replace(profile, seasons=_seasons_of(document["seasons"], profile))
    if "vectors" in document:
        profile = replace(profile, vectors=_vectors_of(document["vectors"], features))
    if "expected" in document:
        profile = replace(profile, expected=_expected_of(document["expected"], features))
    names = [(feature.role is Role.SCORE, feature.name) for feature in profile.features]
    _expect(bool(names) and names == sorted(names), "features aren't in order")
    _expect(len({name for _, name in names}) == len(names), "two features share a name")
    _expect(profile.rows > 0, "it has no rows")
    for feature in profile.features:
        _expect(int(feature.counts.sum()) == profile.rows, f"{feature.name} doesn't count every row")
    return profile


def _seasons_of(document: Any, profile: ReferenceProfile) -> Seasons:
    seasons = np.zeros((CELLS, profile.size), dtype=np.int64)
    for cell, counts in document["counts"].items():
        _expect(0 <= int(cell) < CELLS, f"{cell} is no hour of the week")
        seasons[int(cell)] = np.array([int(count) for count in counts], dtype=np.int64)
    _expect(bool(np.all(seasons >= 0)), "an hour counts below 0")
    _expect(bool(np.all(seasons.sum(axis=0) <= profile.counts)), "its hours have more rows than the whole")
    rows = np.add.reduceat(seasons[:, : profile.bins], profile.offsets[:-1], axis=1)
    _expect(bool(np.all(rows == rows[:, :1])), "an hour doesn't count every feature's rows")
    overdispersion = np.array([float(each) for each in document["overdispersion"]])
    _expect(overdispersion.shape == (len(profile.features),), "its hours have not one overdispersion per feature")
    _expect(bool(np.all(overdispersion >= 1.0)), "its hours have an overdispersion below 1")
    return Seasons(seasons, overdispersion)


def _vectors_of(document: Any, features: tuple[Feature, ...]) -> tuple[Vector, ...]:
    vectors = tuple(Vector(_text(name), np.array(mean, dtype=np.float64)) for name, mean in document.items())
    _expect(bool(vectors), "it has an empty list of vectors")
    numeric = {feature.name for feature in features if feature.kind is Kind.NUMERIC}
    for vector in vectors:
        _expect(vector.mean.ndim == 1 and 0 < vector.mean.size <= MOST_WIDTH, f"{vector.name} is no vector")
        _expect(bool(np.isfinite(vector.mean).all()), f"{vector.name} has a mean that isn't finite")
        _expect(numeric.issuperset(vector.features), f"{vector.name} lacks a number that stands for it")
    return vectors


def _document_of_expected(expected: Expected) -> dict[str, object]:
    if isinstance(expected, Calibration):
        return {"scores": expected.scores.tolist(), "likely": expected.likely.tolist(), "rows": expected.rows}
    nodes = {name: getattr(expected, name).tolist() for name in _WHOLE + _REAL}
    return {
        "names": list(expected.names),
        "rows": expected.rows,
        "texts": {name: dict(each) for name, each in expected.texts.items()},
    } | nodes


def _expected_of(document: Any, features: tuple[Feature, ...]) -> Expected:
    return _tree_of(document, features) if "names" in document else _calibration_of(document)


def _calibration_of(document: Any) -> Calibration:
    scores, likely = (np.array(document[name], dtype=np.float64) for name in ("scores", "likely"))
    _expect(scores.ndim == 1 and 0 < scores.size <= MOST_KNOTS, f"a calibration has 1 to {MOST_KNOTS} knots")
    _expect(scores.shape == likely.shape, "a calibration has not one probability per knot")
    _expect(bool(np.all(np.diff(scores) > 0) and np.all(np.diff(likely) >= 0)), "a calibration falls")
    for each in (scores, likely):
        _expect(bool(np.all((each >= 0) & (each <= 1))), "a calibration isn't of probabilities")
    return Calibration(scores, likely, _learnt(document))


def _learnt(document: Any) -> int:
    rows = int(document["rows"])
    _expect(rows > 0, "it was learnt of no outcome")
    return rows


def _tree_of(document: Any, features: tuple[Feature, ...]) -> LossTree:
    names = tuple(map(_text, document["names"]))
    texts = {_text(name): {_text(v): float(n) for v, n in each.items()} for name, each in document["texts"].items()}
    whole = {name: np.array([int(number) for number in document[name]], dtype=np.int64) for name in _WHOLE}
    real = {name: np.array(document[name], dtype=np.float64) for name in _REAL}
    nodes: dict[str, Any] = {**whole, **real}
    tree = LossTree(names, texts, rows=_learnt(document), **nodes)
    _expect(set(names) <= {each.name for each in features}, "a tree asks for a feature that isn't there")
    _expect(
        texts.keys() == {each.name for each in features if each.is_text and each.name in names}, "a tree mixes up kinds"
    )
    _expect(0 < tree.nodes <= MOST_NODES, f"a tree has 1 to {MOST_NODES} nodes")
    _expect(all(each.shape == (tree.nodes,) for each in (*whole.values(), *real.values())), "a tree's nodes differ")
    _expect(bool(np.all((tree.features >= LEAF) & (tree.features < len(names)))), "a node asks for no feature")
    inner = np.flatnonzero(tree.features != LEAF)
    for further in (tree.below[inner], tree.above[inner]):
        _expect(bool(np.all((further > inner) & (further < tree.nodes))), "a tree goes back")
    _expect(all(bool(np.isfinite(each).all()) for each in real.values()), "a node has a number that isn't finite")
    _expect(all(bool(np.all(real[name] >= 0)) for name in ("absolute", "square", "fourth")), "an error is below 0")
    return tree


def _relations_of(document: Any, features: tuple[Feature, ...]) -> Relations:
    """The relations of features; a profile of before they were kept has none."""
    relations = Relations(
        **{name: np.array([int(number) for number in document[name]], dtype=np.int64) for name in _RELATIONS}
    )
    pairs, cuts = len(relations), relations.cuts
    _expect(0 < pairs <= MOST_PAIRS, f"it has {pairs} relations, not 1 to {MOST_PAIRS}")
    _expect(relations.second.size == pairs == relations.together.size, "its relations aren't of one length")
    _expect(cuts.size == len(features), "it has not one cut per feature")
    _expect(
        all(NO_CUT <= cut < each.bins - 2 for cut, each in zip(cuts.tolist(), features, strict=True)),
        "a cut is none of its feature's",
    )
    _expect(bool(np.all((relations.first >= 0) & (relations.first < relations.second))), "a relation isn't in order")
    _expect(bool(np.all(relations.second < len(features))), "a relation has a feature too many")
    _expect(bool(np.all(relations.together >= 0)), "a relation counts below 0")
    return relations


def _feature_of(document: Any) -> Feature:
    kind = Kind(document["kind"])
    numeric = kind is Kind.NUMERIC
    feature = Feature(
        name=_text(document["name"]),
        kind=kind,
        role=Role(document["role"]),
        counts=np.array([int(count) for count in document["counts"]], dtype=np.int64),
        overdispersion=float(document["overdispersion"]),
        edges=np.array(document["edges"] if numeric else [], dtype=np.float64),
        values=np.array(document["values"] if numeric else [], dtype=np.float64),
        deviation=float(document["deviation"]) if numeric else 0.0,
        categories=() if numeric else tuple(map(_text, document["categories"])),
    )
    _check(feature)
    return feature


def _check(feature: Feature) -> None:
    _expect(bool(feature.name), "a feature has no name")
    _expect(
        LEAST_BINS <= feature.bins <= MOST_BINS,
        f"{feature.name} has {feature.bins} bins, not {LEAST_BINS} to {MOST_BINS}",
    )
    _expect(bool(np.all(feature.counts >= 0)), f"{feature.name} has a count below 0")
    _expect(feature.overdispersion >= 1.0, f"{feature.name} has an overdispersion below 1")
    if feature.kind is Kind.CATEGORICAL:
        _expect(len(set(feature.categories)) == feature.bins - 2, f"{feature.name} has not one bin per category")
        return
    _expect(feature.edges.shape == (feature.bins - 2,), f"{feature.name} has not one bin per edge")
    _expect(bool(np.all(np.diff(feature.edges) > 0)), f"{feature.name} has edges that don't rise")
    _expect(feature.values.shape == (feature.bins - 1,), f"{feature.name} has not one value per bin")
    _expect(feature.deviation >= 0, f"{feature.name} has a deviation below 0")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # an assertion, read as one
    if not holds:
        raise ValueError(otherwise)
