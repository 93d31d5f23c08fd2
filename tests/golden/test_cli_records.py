"""`golden explain RECORD`: what was asked and answered, how old its features were, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from goldenpath.deployer.v1 import deployer_service_pb2 as deployer
from goldenpath.modelserver.v1 import events_pb2 as records
from goldenpath.monitor.v1 import monitor_service_pb2 as monitor
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import NotFound
from services.profile import profile_of

RECORD = "0199a6b0-7c3e-7d10-8f00-5a1b2c3d4e5f"
CHANCE = np.random.default_rng(5)
INPUTS = {
    "amount": CHANCE.integers(1, 200, 2_000).astype(float),
    "country": CHANCE.choice(np.array(["be", "lu"], dtype=object), 2_000),
}
PROFILE = profile_of(INPUTS, scores={"score": INPUTS["amount"] / 1_000})
AT_US = 1_764_237_600_000_000  # 2025-11-27 10:00


def score(request: deployer.ScoreRowsRequest) -> deployer.ScoreRowsResponse:
    """A thousandth of the amount, and a tenth more from abroad."""
    amount, country = request.inputs
    abroad = np.array(country.codes) == list(country.dictionary).index("lu") if "lu" in country.dictionary else 0
    return deployer.ScoreRowsResponse(scores=(np.array(amount.numbers) / 1_000 + abroad * 0.1).tolist())


@pytest.fixture
def served(platform: Any) -> records.InferenceRecorded:
    record = records.InferenceRecorded(
        model="card-fraud",
        version=2,
        environment="production",
        epoch=4,
        arm=records.ARM_STABLE,
        event_times_us=[AT_US],
        units=records.Column(name="unit", dictionary=["customer-7"], codes=[0]),
        inputs=[
            records.Column(name="amount", numbers=[180.0]),
            records.Column(name="country", dictionary=["lu"], codes=[0]),
        ],
        outputs=[records.Column(name="score", numbers=[0.28])],
        artifact_digest="ab" * 32,
    )
    version = registry.Version()
    version.registered.registered_by.subject = "ada"
    version.features.views.add(name="customers", inputs=["amount"])
    read = monitor.RecordFeatures(view="customers", outcome="found")
    read.event_time.FromMicroseconds(AT_US - 50_000_000)
    platform.answers["GetRecord"] = monitor.GetRecordResponse(
        record=record, features=[read], label="1", topic="inference.records", partition=3, offset=42
    )
    platform.answers["GetVersion"] = registry.GetVersionResponse(version=version)
    platform.answers["GetProfile"] = registry.GetProfileResponse(profile=PROFILE.to_bytes())
    platform.answers["ScoreRows"] = score
    return record


@pytest.mark.usefixtures("served")
def test_a_record_is_shown_with_its_reasons_and_where_its_features_came_from(platform: Any, golden: Any) -> None:
    ended = golden("explain", RECORD)
    assert ended.status == 0, ended.err
    assert "card-fraud@2 at 2025-11-27 10:00:00 UTC   customer-7" in ended.out
    assert "outcome 1" in ended.out
    assert "customers: found, 50 s old" in ended.out
    assert "it is 0.28" in ended.out
    assert "doesn't say the same twice" not in ended.out
    assert "inference.records/3/42" in ended.out
    assert platform.request("GetRecord").record_id == RECORD
    assert (platform.request("ScoreRows").model, platform.request("ScoreRows").version) == ("card-fraud", 2)


@pytest.mark.usefixtures("served")
def test_a_program_gets_parts_that_sum_to_the_score(golden: Any) -> None:
    told = golden("explain", RECORD, "--json").json
    parts = {one["input"]: one["part"] for one in told["reasons"]}
    assert told["baseline"] + sum(parts.values()) == pytest.approx(0.28)
    assert parts["country"] == pytest.approx(0.05, abs=0.02)
    assert told["reasons"][0]["source"].startswith("customers: found")


def test_a_version_that_scores_otherwise_than_it_did_is_said(
    platform: Any, golden: Any, served: records.InferenceRecorded
) -> None:
    served.outputs[0].numbers[0] = 0.9
    platform.answers["GetRecord"].record.CopyFrom(served)
    assert "It was answered 0.9: the version doesn't say the same twice" in golden("explain", RECORD).out


def test_a_record_that_nobody_knows_says_what_may_be(platform: Any, golden: Any) -> None:
    platform.answers["GetRecord"] = NotFound("there is no record", fix="it may be older than the topic keeps")
    ended = golden("explain", RECORD)
    assert ended.status == 1
    assert "older than the topic keeps" in ended.err
