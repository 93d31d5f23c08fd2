"""The feature settings' messages <-> the domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from goldenpath.registry.v1 import events_pb2 as told
from services.chassis.errors import Invalid
from services.registry.domain.features import Fallback, Features, View

_FALLBACKS: Final = {Fallback.MISSING: told.FEATURE_FALLBACK_MISSING, Fallback.FAIL: told.FEATURE_FALLBACK_FAIL}


def features_of(message: told.FeatureSettings) -> Features:
    """What somebody asks to read from the feature store.

    Raises:
        Invalid: the fallback isn't said.
    """
    fallback = {value: key for key, value in _FALLBACKS.items()}.get(message.fallback)
    if fallback is None:
        raise Invalid("what if the store gives nothing? missing or fail", where="features.fallback")
    views = tuple(
        View(view.name, view.digest, tuple(view.inputs), tuple(view.keys), _seconds(view.ttl)) for view in message.views
    )
    return Features(message.service, views, _seconds(message.deadline), fallback)


def features_message(features: Features | None) -> told.FeatureSettings | None:
    """What is read from the feature store; None stays absent."""
    if features is None:
        return None
    return told.FeatureSettings(
        service=features.service,
        views=view_messages(features),
        deadline=_duration(features.deadline_seconds),
        fallback=_FALLBACKS[features.fallback],
    )


def view_messages(features: Features | None) -> Sequence[told.FeatureView]:
    """The views that a version reads, by name."""
    return [
        told.FeatureView(
            name=view.name,
            digest=view.digest,
            inputs=view.inputs,
            keys=view.keys,
            ttl=_duration(view.ttl_seconds) if view.ttl_seconds else None,
        )
        for view in (features.views if features else ())
    ]


def _seconds(message: Duration) -> float:
    return message.seconds + message.nanos / 1e9


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made
