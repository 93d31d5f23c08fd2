"""Data that is broken: the deployer hears of it, and holds what it can't mend by going back."""

from __future__ import annotations

from goldenpath.monitor.v1 import events_pb2 as pb
from services.deployer import consumers
from services.deployer.domain.deployment import Role
from services.deployer.domain.going_back import Trouble, Verb, decide
from services.deployer.domain.policy import Policy
from services.deployer.events import signal_of

SKEWED = pb.Signal(
    id="7f3a",
    kind=pb.SIGNAL_KIND_DATA_QUALITY,
    version=2,
    epoch=5,
    sentence="customer_windows gave something else",
    skew=pb.FeatureSkew(view="customer_windows", inputs=["mean_7d", "count_7d"]),
)


class Subscriptions:
    """What a consumer is asked to handle."""

    def __init__(self) -> None:
        self.types: dict[str, object] = {}

    def on(self, type_name: str, schema: object, handle: object) -> None:
        self.types[type_name] = (schema, handle)


def test_the_inputs_of_a_skewed_view_are_what_the_decision_names() -> None:
    signal = signal_of(SKEWED)
    assert (signal.trouble, signal.features) == (Trouble.DATA_QUALITY, ("mean_7d", "count_7d"))


def test_a_version_whose_features_are_skewed_is_held() -> None:
    outcome = decide(signal_of(SKEWED), Role(1, "0" * 64, 4), None, Policy(), went_back=False)
    assert outcome.verb is Verb.HOLD


def test_the_deployer_hears_of_it() -> None:
    heard = Subscriptions()
    consumers.subscribe(heard)  # type: ignore[arg-type] # only what it subscribes is looked at
    assert heard.types["data_quality.violated"] == (pb.DataQualityViolated, consumers.on_trouble)
