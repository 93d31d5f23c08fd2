"""The registry's rules, without I/O."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid
from services.modelserver.signature import signature_of
from services.registry.domain import datasets, models, names, registrations, signatures
from services.registry.domain.aliases import Pointing, champion, moves
from services.registry.domain.datasets import Dataset, DatasetInput, Datasheet
from services.registry.domain.models import Actor, Kind, Model, ModelFacts, RiskTier
from services.registry.domain.pages import page_of
from services.registry.domain.promises import Direction, Promise, PromiseWish, promise_of
from services.registry.domain.registrations import Drift, Outcomes, Registration, Rollout
from services.registry.domain.versions import environment_digest
from services.registry.messages import QUESTIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA, CLAIM = Actor("ada", verified=True), Actor("ada", verified=False)
FACTS = ModelFacts(Kind.MODEL, RiskTier.HIGH, owner="risk-team", use_case="pre-screening")
MODEL = Model("credit", FACTS, NOW)


@pytest.mark.parametrize("name", ["", "Credit", "1credit", "a" * 64, "a_b", "a\n", "ä", "../etc", "a\x00"])
def test_a_malformed_model_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="no model name"):
        names.model_name(name)


def test_the_longest_name_is_taken() -> None:
    assert names.model_name("a" * 63) == "a" * 63


def test_a_person_may_give_a_model_another_owner() -> None:
    said = ModelFacts(Kind.MODEL, RiskTier.HIGH, owner="other-team")
    assert models.revised(MODEL, said, ADA).facts == ModelFacts(
        Kind.MODEL, RiskTier.HIGH, "other-team", "pre-screening"
    )


def test_nobody_does_away_with_the_second_person_by_lowering_the_risk_tier() -> None:
    with pytest.raises(Denied, match="can't fall from high to limited"):
        models.revised(MODEL, ModelFacts(Kind.MODEL, RiskTier.LIMITED), ADA)


def test_saying_nothing_new_changes_nothing() -> None:
    assert models.revised(MODEL, ModelFacts(Kind.MODEL, RiskTier.HIGH), CLAIM) == MODEL


@pytest.mark.parametrize(
    ("said", "error"),
    [
        pytest.param(ModelFacts(Kind.MODEL, RiskTier.MINIMAL), Denied, id="a lower risk tier"),
        pytest.param(ModelFacts(Kind.MODEL, RiskTier.HIGH, owner="me"), Denied, id="another owner"),
        pytest.param(ModelFacts(Kind.AGENT, RiskTier.HIGH), Conflict, id="another kind"),
    ],
)
def test_a_claim_cannot_take_a_model_over(said: ModelFacts, error: type[GoldenpathError]) -> None:
    with pytest.raises(error):
        models.revised(MODEL, said, CLAIM)


def test_the_default_promise_is_the_runs_own_validation_value() -> None:
    assert promise_of(None, {"auc": 0.9, "log_loss": 0.5}) == Promise("log_loss", 0.5, 0.05, Direction.LOWER)
    assert promise_of(PromiseWish("auc", margin=0.01), {"auc": 0.9}) == Promise("auc", 0.9, 0.01, Direction.HIGHER)
    assert promise_of(PromiseWish("auc", 0.8), {}) == Promise("auc", 0.8, 0.0, Direction.HIGHER)


def test_without_a_wish_and_without_metrics_nothing_is_promised() -> None:
    assert promise_of(None, {"lift": 3.0}) is None


@pytest.mark.parametrize(
    ("wish", "where"),
    [
        pytest.param(PromiseWish("f1"), "promise.metric", id="a metric that the run lacks"),
        pytest.param(PromiseWish("lift", 3.0), "promise.direction", id="a metric of unknown direction"),
        pytest.param(PromiseWish("auc", 0.9, -0.1), "promise.margin", id="a margin below zero"),
        pytest.param(PromiseWish("auc", math.nan), "promise.value", id="a value that is no number"),
        pytest.param(PromiseWish("auc", 0.9, math.inf), "promise.margin", id="an infinite margin"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(wish: PromiseWish, where: str) -> None:
    with pytest.raises(Invalid) as error:
        promise_of(wish, {"auc": 0.9})
    assert error.value.where == where


def test_an_empty_datasheet_leaves_every_question_open() -> None:
    assert Datasheet().unanswered(QUESTIONS) == QUESTIONS


def test_a_placeholder_is_no_answer() -> None:
    answers = dict.fromkeys(QUESTIONS, "said") | {"purpose": " TBD ", "known_gaps": "None known."}
    assert Datasheet(answers=answers).unanswered(QUESTIONS) == ("purpose",)


def test_licence_and_personal_data_are_answered_by_their_fields_too() -> None:
    assert not {"licence", "personal_data"} & set(Datasheet(licence="MIT", personal_data="none").unanswered(QUESTIONS))


def _dataset(**answers: str) -> Dataset:
    return Dataset("census", 1, "d" * 64, 1, Datasheet(answers=answers, licence="MIT"), ADA)


def test_a_better_answer_is_a_new_revision() -> None:
    better = DatasetInput("census", "d" * 64, Datasheet(answers={"purpose": "credit"}))
    revised = datasets.revised(_dataset(purpose="?"), better, CLAIM)
    assert (revised.revision, revised.sheet.licence, revised.registered_by) == (2, "MIT", CLAIM)


def test_the_same_answers_again_are_no_revision() -> None:
    same = DatasetInput("census", "d" * 64, Datasheet(answers={"purpose": "credit"}))
    assert datasets.revised(_dataset(purpose="credit"), same, CLAIM) == _dataset(purpose="credit")


def test_a_reference_to_a_dataset_changes_nothing() -> None:
    reference = DatasetInput("census", "d" * 64, Datasheet(owner="somebody"))
    assert datasets.revised(_dataset(purpose="credit"), reference, ADA) == _dataset(purpose="credit")


@pytest.mark.parametrize(
    ("given", "where"),
    [
        pytest.param(DatasetInput("Census", "d" * 64), "dataset.name", id="name"),
        pytest.param(DatasetInput("census", "D" * 64), "dataset.digest", id="digest"),
        pytest.param(
            DatasetInput("census", "d" * 64, Datasheet(personal_data="lots")), "dataset.personal_data", id="class"
        ),
        pytest.param(DatasetInput("census", "d" * 64, Datasheet("[")), "dataset.datasheet_json", id="no JSON"),
        pytest.param(DatasetInput("census", "d" * 64, Datasheet("[]")), "dataset.datasheet_json", id="no object"),
        pytest.param(
            DatasetInput("census", "d" * 64, Datasheet(answers={"purpose": "\x00"})),
            "dataset.answers[purpose]",
            id="a NUL",
        ),
        pytest.param(
            DatasetInput("census", "d" * 64, Datasheet(period_start=NOW, period_end=NOW.replace(year=2025))),
            "dataset.period_end",
            id="a period that ends before it starts",
        ),
    ],
)
def test_a_malformed_dataset_is_refused_with_its_place(given: DatasetInput, where: str) -> None:
    with pytest.raises(Invalid) as error:
        datasets.checked(given)
    assert error.value.where == where


def _asked(**more: Any) -> Registration:
    usual: dict[str, Any] = {"model": "credit", "facts": FACTS, "mlflow_run": "r"}
    return Registration(**usual | more)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        pytest.param(_asked(model=""), "model", id="no model"),
        pytest.param(_asked(mlflow_run=" "), "mlflow_run", id="no run"),
        pytest.param(_asked(drift=Drift(effect="vibes")), "drift.effect", id="an unknown effect"),
        pytest.param(_asked(drift=Drift(tolerance=-1)), "drift.tolerance", id="a tolerance below zero"),
        pytest.param(
            _asked(drift=Drift(feature_tolerances={"age": math.nan})),
            "drift.feature_tolerances[age]",
            id="a feature's tolerance that is no number",
        ),
        pytest.param(_asked(rollout=Rollout((50, 25, 100))), "rollout.steps", id="falling steps"),
        pytest.param(_asked(rollout=Rollout((5, 50))), "rollout.steps", id="steps that stop early"),
        pytest.param(_asked(rollout=Rollout(error_margin=2)), "rollout.error_margin", id="a share above one"),
        pytest.param(_asked(rollout=Rollout(latency_margin=0.5)), "rollout.latency_margin", id="a ratio below one"),
        pytest.param(
            _asked(rollout=Rollout(disagreement_limit=1.0)), "rollout.disagreement_limit", id="all may disagree"
        ),
        pytest.param(_asked(rollout=Rollout(holdback=6)), "rollout.holdback", id="too many held back"),
        pytest.param(_asked(outcomes=Outcomes(within_seconds=-1)), "outcomes.within", id="an outcome too early"),
        pytest.param(_asked(outcomes=Outcomes(threshold=1.0)), "outcomes.threshold", id="a threshold of one"),
        pytest.param(_asked(outcomes=Outcomes(quantile=1.0)), "outcomes.quantile", id="a quantile of one"),
        pytest.param(_asked(outcomes=Outcomes(cost=((-1.0, 0.0),) * 4)), "outcomes.cost", id="a cost below zero"),
        pytest.param(_asked(outcomes=Outcomes(cost=((0.0, 1.0),) * 4)), "outcomes.amount", id="a share of no amount"),
        pytest.param(_asked(outcomes=Outcomes(segments=("town",) * 2)), "outcomes.segments", id="a segment twice"),
        pytest.param(_asked(promise=PromiseWish("cost")), "outcomes.cost", id="a cost without a matrix"),
        pytest.param(_asked(datasets=(DatasetInput("c", "d" * 64),) * 2), "datasets", id="a dataset twice"),
    ],
)
def test_a_malformed_registration_is_refused_with_its_place(asked: Registration, where: str) -> None:
    with pytest.raises(Invalid) as error:
        registrations.checked(asked)
    assert error.value.where == where


SIGNATURE = json.dumps({"inputs": [{"name": "euros", "type": "double"}, {"name": "town", "type": "string"}]})


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        pytest.param(Outcomes(amount="euro"), "'euro' is none of the model's numbers", id="an amount that isn't there"),
        pytest.param(Outcomes(amount="town"), "'town' is none of the model's numbers", id="an amount of text"),
        pytest.param(Outcomes(segments=("euros",)), "'euros' isn't text", id="a segment of numbers"),
    ],
)
def test_outcomes_that_do_not_fit_the_signature_are_refused(outcomes: Outcomes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        registrations.check_fit(outcomes, SIGNATURE)


def test_outcomes_that_fit_the_signature_are_taken() -> None:
    registrations.check_fit(Outcomes(amount="euros", segments=("town", "shop")), SIGNATURE)
    registrations.check_fit(Outcomes(amount="anything"), "")
    tensor = {"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 5]}}
    registrations.check_fit(Outcomes(amount="x[3]"), json.dumps({"inputs": [tensor]}))


def test_the_project_is_the_model_unless_it_is_named() -> None:
    assert registrations.checked(_asked()).project == "credit"


def test_the_champion_moves_only_with_a_newer_epoch() -> None:
    now = Pointing("credit", champion("production"), 1, epoch=5, since=NOW)
    assert [moves(now, epoch) for epoch in (4, 5, 6)] == [False, False, True]
    assert moves(None, 1)


@pytest.mark.parametrize("token", ["x", "!!", "bnVsbA", "e30", "W10", "WyJtb2RlbHMiLCAxXQ"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(Invalid, match="page token"):
        page_of(1, token, question="models", key=(str,))


def test_a_token_of_another_question_is_refused() -> None:
    token = page_of(1, "", question="models", key=(str,)).token(("credit",))
    assert page_of(1, token, question="models", key=(str,)).after == ("credit",)
    with pytest.raises(Invalid):
        page_of(1, token, question="datasets", key=(str,))


MLMODEL = {
    "signature": {
        "inputs": '[{"type": "double", "name": "age", "required": true}, {"type": "string", "name": "education"}]',
        "outputs": '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]',
    }
}


def test_the_example_is_the_request_that_a_client_would_send() -> None:
    example = {"columns": ["education", "age"], "data": [["Masters", 41.0], [None, 29.5]]}
    request = json.loads(signatures.input_example_json(signatures.signature_json(MLMODEL), example))
    assert request["inputs"] == [
        {"name": "age", "shape": [2, 1], "datatype": "FP64", "data": [41.0, 29.5]},
        {"name": "education", "shape": [2, 1], "datatype": "BYTES", "data": ["Masters", None]},
    ]
    served = {column.name: column.datatype for column in signature_of(MLMODEL).columns}
    assert served == {tensor["name"]: tensor["datatype"] for tensor in request["inputs"]}


def test_a_matrix_is_one_tensor() -> None:
    spec = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
    signature = signatures.signature_json({"signature": {"inputs": json.dumps(spec)}})
    request = json.loads(signatures.input_example_json(signature, {"inputs": [[1.0, 2.0], [3.0, 4.0]]}))
    assert request["inputs"] == [{"name": "input", "shape": [2, 2], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0]}]


@pytest.mark.parametrize("example", [None, [], {}, "text", [[1], [1, 2]]])
def test_an_example_that_fits_no_signature_is_left_out(example: Any) -> None:
    assert signatures.input_example_json(signatures.signature_json(MLMODEL), example) == ""
    assert signatures.input_example_json("", example) == ""


def test_the_environment_digest_does_not_depend_on_order() -> None:
    assert environment_digest(["b==1", "a==2"]) == environment_digest(["a==2", "b==1"])
