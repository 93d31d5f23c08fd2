"""What the judge finds, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True)
class FeatureEffect:
    """One feature's part in a finding.

    Args:
        feature: Its name.
        part: What of it was judged, in words: the feature, or the feature apart from its commonest value.
        effect: The judged effect over the finding's records, 0 or more.
        lower: Its anytime-valid lower confidence bound.
        upper: Its anytime-valid upper confidence bound.
        tolerance: What it was held against.
        share: Its share of the finding, 0 to 1; a finding's shares sum to 1.
        log_evidence: Natural logarithm of its e-value.
        effects: Every effect over the same records, by name.
    """

    feature: str
    part: str
    effect: float
    lower: float
    upper: float
    tolerance: float
    share: float
    log_evidence: float
    effects: Mapping[str, float]


@dataclass(frozen=True)
class RelationEffect:
    """Two features that go together otherwise than they did.

    Args:
        first: A feature's name.
        first_side: Its upper side, in words, such as "above 38".
        second: Another's.
        second_side: Its upper side.
        reference: The share of the reference's rows that lie on the same side of both, 0 to 1.
        now: That of the finding's records.
        log_evidence: Natural logarithm of its e-value.
    """

    first: str
    first_side: str
    second: str
    second_side: str
    reference: float
    now: float
    log_evidence: float


@dataclass(frozen=True)
class Standing:
    """How a version stands, for whoever asks between findings.

    Args:
        features: Every feature's effect over the records of the present stretch of evidence, largest share first.
        log_evidence: Natural logarithm of the combined e-value.
        relations: The pairs of features that most speaks for a change of, the surest first.
    """

    features: tuple[FeatureEffect, ...]
    log_evidence: float
    relations: tuple[RelationEffect, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that the judge has to say about a version in its role.

    Args:
        effect: The name of the effect that was judged.
        features: The features that it is about, largest share first.
        since: When the change is estimated to have begun; of an all-clear, when it is estimated to have ended.
        rows_since: Records seen since then.
        rows_seen: Records seen in this role in all.
        false_alarms_per_year: The promise at which it was raised.
        log_evidence: Natural logarithm of the features' combined e-value.
        at: When it was found.
        sentence: The finding in words.
        relations: Pairs of features that go together otherwise, where no feature alone says as much; the surest first.
    """

    effect: str
    features: tuple[FeatureEffect, ...]
    since: datetime
    rows_since: int
    rows_seen: int
    false_alarms_per_year: float
    log_evidence: float
    at: datetime
    sentence: str
    relations: tuple[RelationEffect, ...] = ()


class Noticed(Finding):
    """Something changed at all. Shown, never acted on."""


class Detected(Finding):
    """A change exceeds the model's tolerance."""


class Cleared(Finding):
    """Everything that was detected is back within the tolerance."""


Sentence: TypeAlias = Callable[[tuple[FeatureEffect, ...], int, datetime, float], str]


def noticed_sentence(features: tuple[FeatureEffect, ...], rows: int, since: datetime, per_year: float) -> str:
    """What was noticed, in words."""
    return f"{_names(features)} changed somewhat {_when(rows, since)}; {_promise(per_year)}."


def related_sentence(
    relation: RelationEffect, _: tuple[FeatureEffect, ...], rows: int, since: datetime, per_year: float
) -> str:
    """What was noticed of two features together, in words."""
    pair = f"{relation.first} ({relation.first_side}) and {relation.second} ({relation.second_side})"
    share = f"both or neither in {relation.now:.0%} of records, {relation.reference:.0%} of the reference"
    return f"{pair} go together otherwise {_when(rows, since)}: {share}; {_promise(per_year)}."


def detected_sentence(features: tuple[FeatureEffect, ...], rows: int, since: datetime, per_year: float) -> str:
    """What was detected, in words."""
    most = max(features, key=lambda feature: feature.lower / feature.tolerance)
    much = f"{most.part} by {most.effect:.2f}, at least {most.lower:.2f}, where {most.tolerance:g} is tolerated"
    return f"{_names(features)} drifted {_when(rows, since)}: {much}; {_promise(per_year)}."


def cleared_sentence(features: tuple[FeatureEffect, ...], rows: int, since: datetime, _per_year: float) -> str:
    """What is over, in words; an all-clear is no alarm, so it promises no rate."""
    most = max(feature.upper for feature in features)
    back = f"at most {most:.2f}, where {features[0].tolerance:g} is tolerated"
    return f"{_names(features)} went back within tolerance {_when(rows, since)}: {back}."


def _names(features: tuple[FeatureEffect, ...]) -> str:
    names = list(dict.fromkeys(feature.feature for feature in features))
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _when(rows: int, since: datetime) -> str:
    return f"over the last {rows:,} records, since about {since:%H:%M:%S} UTC"


def _promise(per_year: float) -> str:
    return f"at most {per_year:g} false alarm{'' if per_year == 1 else 's'} a year"
