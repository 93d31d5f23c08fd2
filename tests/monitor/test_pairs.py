"""A mirrored candidate's answers against the stable version's, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1 import monitor_service_pb2 as service_pb
from services.monitor import pair_store, pairing
from services.monitor.domain.pairs import Answers, Compared, compare
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, column_of, credit

STABLE, SHADOW = pb.ARM_STABLE, pb.ARM_SHADOW


def answers(
    bench: Bench, arm: int, requests: Sequence[str], *, score: float = 0.2, labels: bool = True, **more: Any
) -> pb.InferenceRecorded:
    """A batch of one arm: each row answers the request of that name."""
    scores = np.full(len(requests), score)
    role: dict[str, Any] = {"version": 2, "epoch": 3} if arm == SHADOW else {"version": 1, "epoch": 2}
    ids = column_of("request_id", np.array(requests, dtype=object))
    body = batch_of(credit(bench.random, len(requests)), scores, arm=arm, request_ids=ids, **(role | more))
    if not labels:
        del body.outputs[1]
    return body


def named(first: int, last: int) -> list[str]:
    return [f"request-{number}" for number in range(first, last)]


async def found(bench: Bench, version: int = 2, epoch: int = 3) -> service_pb.GetDisagreementResponse:
    async with bench.database.read() as connection:
        return await pairing.disagreement("credit", "production", version, epoch, connection)


@pytest.mark.parametrize("order", [(SHADOW, STABLE), (STABLE, SHADOW)], ids=["the copy first", "the copy last"])
async def test_both_answers_to_a_request_are_compared_whichever_comes_first(
    bench: Bench, order: tuple[int, int]
) -> None:
    await bench.take(answers(bench, SHADOW, ["before"]))  # from now on the stable's answers are kept, too
    for arm in order:
        await bench.take(answers(bench, arm, named(0, 10), score=0.2 if arm == STABLE else 0.6))
    told = await found(bench)
    assert (told.pairs, told.disagreements) == (10, 10)  # 0.2 is a no, 0.6 a yes
    assert told.mean_absolute_difference == pytest.approx(0.4)
    assert "10 of 10 answers differ" in told.sentence


async def test_answers_of_one_poll_meet_in_it(bench: Bench) -> None:
    await bench.take(answers(bench, STABLE, named(0, 10)), answers(bench, SHADOW, named(0, 10)))
    assert (await found(bench)).pairs == 10
    assert await bench.rows("SELECT * FROM unpaired_answers") == []


async def test_a_batch_that_comes_twice_is_paired_once(bench: Bench) -> None:
    stable, copy = answers(bench, STABLE, named(0, 10)), answers(bench, SHADOW, named(0, 10))
    await bench.take(copy, stable)
    await bench.take(stable, copy)
    await bench.take(copy)
    assert (await found(bench)).pairs == 10


async def test_two_replicas_that_take_the_two_sides_at_once_miss_no_pair(bench: Bench) -> None:
    await bench.take(answers(bench, SHADOW, ["before"]))
    sides = [answers(bench, arm, named(first, first + 20)) for first in range(0, 200, 20) for arm in (STABLE, SHADOW)]
    await asyncio.gather(*(bench.take(side) for side in sides))
    assert (await found(bench)).pairs == 200


async def test_the_rows_of_a_request_are_compared_one_by_one(bench: Bench) -> None:
    rows = ["one"] * 3 + ["two"] * 2
    stable, copy = answers(bench, STABLE, rows), answers(bench, SHADOW, rows)
    copy.outputs[1].CopyFrom(column_of("label", np.array(["no", "yes", "no", "no", "yes"], dtype=object)))
    await bench.take(copy, stable)
    told = await found(bench)
    assert (told.pairs, told.disagreements) == (5, 2)


async def test_a_copy_that_answers_other_rows_than_were_asked_is_no_pair(bench: Bench) -> None:
    await bench.take(answers(bench, SHADOW, ["one"] * 3), answers(bench, STABLE, ["one"] * 2))
    told = await found(bench)
    assert (told.pairs, told.unpaired) == (0, 5)


async def test_without_labels_scores_differ_by_more_than_the_references_deviation(bench: Bench) -> None:
    deviation = bench.judge.profile.feature("score").deviation
    near, far = 0.2 + deviation * 0.9, 0.2 + deviation * 1.1
    await bench.take(
        answers(bench, STABLE, named(0, 20), labels=False),
        answers(bench, SHADOW, named(0, 10), score=near, labels=False),
        answers(bench, SHADOW, named(10, 20), score=far, labels=False),
    )
    told = await found(bench)
    assert (told.pairs, told.disagreements) == (20, 10)


async def test_what_waits_is_bounded_and_what_is_let_go_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "MOST_WAITING", 50)
    await bench.take(answers(bench, SHADOW, named(0, 40)))
    await bench.take(answers(bench, SHADOW, named(40, 100)))
    await bench.take(answers(bench, STABLE, named(0, 100)))
    told = await found(bench)
    assert (told.pairs, told.unpaired) == (50, 50)
    assert len(await bench.rows("SELECT * FROM unpaired_answers")) == 50


async def test_a_newer_candidate_begins_a_count_of_its_own_and_late_copies_of_the_old_change_nothing(
    bench: Bench,
) -> None:
    await bench.take(answers(bench, STABLE, named(0, 10)), answers(bench, SHADOW, named(0, 10)))
    newer: dict[str, Any] = {"version": 3, "epoch": 5}
    await bench.take(answers(bench, STABLE, named(10, 15)), answers(bench, SHADOW, named(10, 15), **newer))
    await bench.take(answers(bench, STABLE, named(15, 20)), answers(bench, SHADOW, named(15, 20)))
    assert (await found(bench, 3, 5)).pairs == 5
    assert (await found(bench)).pairs == 0


async def test_answers_are_kept_only_while_copies_come(bench: Bench) -> None:
    await bench.take(answers(bench, STABLE, named(0, 10)))
    assert await bench.rows("SELECT * FROM unpaired_answers") == []
    await bench.take(answers(bench, SHADOW, named(10, 20)))
    bench.clock.advance(pair_store.QUIET + timedelta(seconds=1))
    await bench.take(answers(bench, STABLE, named(20, 30)))
    assert await bench.rows("SELECT * FROM unpaired_answers") == []
    assert (await found(bench)).unpaired == 10
    await bench.take(answers(bench, SHADOW, named(30, 40)))
    await bench.take(answers(bench, STABLE, named(30, 40)))
    assert (await found(bench)).pairs == 10


async def test_copies_enter_no_window_no_sample_and_no_outcome(bench: Bench) -> None:
    await bench.take(answers(bench, SHADOW, named(0, 100)), answers(bench, STABLE, named(0, 100)))
    watches = await bench.rows("SELECT role, version, rows_seen FROM watches")
    assert [tuple(row) for row in watches] == [("stable", 1, 100)]
    assert len(await bench.rows("SELECT * FROM sampled_batches")) == 1


async def test_a_request_that_did_not_come_through_the_router_has_no_pair(bench: Bench) -> None:
    await bench.take(answers(bench, SHADOW, ["", ""]), answers(bench, STABLE, ["", ""]))
    told = await found(bench)
    assert (told.pairs, told.unpaired) == (0, 0)
    assert "no answer has been paired yet" in told.sentence


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(Answers([0.1], ["a"]), Answers([0.9], ["a"]), Compared(1, 0, 0, 0.8), id="labels decide"),
        pytest.param(Answers([0.1], [None]), Answers([0.9], [None]), Compared(1, 1, 0, 0.8), id="far apart"),
        pytest.param(Answers([0.1], [None]), Answers([0.4], [None]), Compared(1, 0, 0, 0.3), id="near"),
        pytest.param(Answers([np.nan], [None]), Answers([0.4], [None]), Compared(unpaired=2), id="no number"),
        pytest.param(Answers([np.nan], ["a"]), Answers([0.4], ["b"]), Compared(1, 1), id="a label and no number"),
    ],
)
def test_two_answers_are_compared_by_label_or_else_by_score(one: Answers, other: Answers, expected: Compared) -> None:
    made = compare(one, other, 0.5)
    assert (made.pairs, made.differing, made.unpaired) == (expected.pairs, expected.differing, expected.unpaired)
    assert made.apart == pytest.approx(expected.apart)


def test_without_a_reference_scores_cannot_be_compared() -> None:
    assert compare(Answers([0.1], [None]), Answers([0.9], [None]), 0.0) == Compared(unpaired=2)
