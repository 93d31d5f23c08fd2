"""What is expected before outcomes come: said as an estimate, beside the truth, in the terminal and on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb

DAY = 86_400


def day(number: int, actual: float | None) -> events.EstimatedDay:
    """A day of which 0.2 was expected, and 400 of 500 outcomes are known where any is."""
    made = events.EstimatedDay(day=Timestamp(seconds=1_780_000_000 + number * DAY), rows=500, expected=0.2)
    return made if actual is None else _known(made, actual)


def _known(made: events.EstimatedDay, actual: float) -> events.EstimatedDay:
    made.known, made.actual, made.deviation = 400, actual, 0.02
    return made


def estimate(*actual: float | None) -> events.EstimatedPerformance:
    days = [day(number, each) for number, each in enumerate(actual)]
    return events.EstimatedPerformance(
        metric="cost", limit=0.5, rows=500 * len(days), loss=0.2, metrics={"recall": 0.61, "auc": 0.9}, days=days
    )


@pytest.fixture
def shown(platform: Any, golden: Any) -> Any:
    """What `golden monitor` shows of an estimate."""

    def show(said: events.EstimatedPerformance, *options: str) -> str:
        kept = events.Performance(metric="cost", limit=0.5, metrics={"recall": 0.33})
        report = pb.GetReportResponse(model="credit", version=3, role="stable", estimated=said, performance=kept)
        platform.answers |= {"GetReport": report, "GetHistory": pb.GetHistoryResponse(effect="psi", version=3)}
        return str(golden("monitor", "credit@3", *options).out)

    return show


def test_it_is_said_to_be_an_estimate_beside_what_is_known(shown: Any) -> None:
    told = shown(estimate(0.21, 0.19, None))
    assert "estimate   cost 0.2 expected of 1,500 records in 28 days, promised 0.5 at most" in told
    row = next(line for line in told.splitlines() if line.strip().startswith("recall") and "0.61" in line)
    assert row.split() == ["recall", "0.61", "0.33"]
    assert "No decision rests on it" in told
    assert "of 800 known outcomes 0.2 turned out where 0.2 was expected: no further apart" in " ".join(told.split())


def test_where_the_truth_is_elsewhere_it_says_that_it_is_blind(shown: Any) -> None:
    told = " ".join(shown(estimate(0.4, 0.5, None)).split())
    assert "of 800 known outcomes 0.45 turned out where 0.2 was expected: further apart than chance takes them" in told


def test_without_any_outcome_there_is_nothing_to_hold_it_against(shown: Any) -> None:
    assert "too few outcomes are known yet to hold it against them" in shown(estimate(None))


def test_a_metric_that_is_no_mean_is_shown_without_days(shown: Any) -> None:
    told = shown(events.EstimatedPerformance(metric="auc", limit=0.8, rows=500, metrics={"auc": 0.9}))
    assert "auc itself can't be expected, nor day by day; of 500 records in 28 days" in told
    assert "0.9" in told


def test_the_page_draws_the_days_and_marks_the_truth(shown: Any, tmp_path: Path) -> None:
    page = tmp_path / "monitor.html"
    shown(estimate(0.4, None, 0.6), "--page", str(page))
    drawn = page.read_text()
    assert "Before outcomes come: an estimate" in drawn
    assert drawn.count('class="mark"') == 2
    assert "<td>recall</td><td>0.61</td><td>0.33</td>" in drawn


def test_who_asks_why_sees_every_segment_and_day(platform: Any, golden: Any) -> None:
    day_at = Timestamp(seconds=1_780_000_000)
    kept = events.Performance(
        metric="cost",
        segments=[
            events.SegmentPerformance(feature="shop", value="online", rows=900, loss=0.5, share=1.0),
            events.SegmentPerformance(feature="shop", value="branch", rows=100, loss=0.1, metrics={"recall": 0.25}),
        ],
        days=[events.DayPerformance(day=day_at, rows=1_000, loss=0.46, metrics={"recall": 0.5})],
    )
    platform.answers |= {"GetReport": pb.GetReportResponse(performance=kept), "GetHistory": pb.GetHistoryResponse()}
    short, long = str(golden("monitor", "credit").out), str(golden("monitor", "credit", "--why").out)
    assert "shop = online" in short
    assert "shop = branch" not in short
    assert ["shop", "=", "branch", "100", "0.1", "0.25"] in [line.split() for line in long.splitlines()]
    assert ["2026-05-28", "1,000", "0.46", "0.5"] in [line.split() for line in long.splitlines()]


def test_a_loss_is_told_as_the_metric_that_was_promised(shown: Any) -> None:
    of_day = events.EstimatedDay(rows=10, expected=0.06, known=9, actual=0.1, deviation=0.1)
    accuracy = events.EstimatedPerformance(metric="accuracy", limit=0.1, rows=10, loss=0.06, days=[of_day])
    assert "accuracy 0.94 expected of 10 records in 28 days, promised 0.9 at least" in shown(accuracy)
    assert "of 9 known outcomes 0.9 turned out where 0.94 was expected" in " ".join(shown(accuracy).split())
    rmse = events.EstimatedPerformance(metric="rmse", limit=36, rows=10, loss=25)
    assert "rmse 5 expected of 10 records in 28 days, promised 6 at most" in shown(rmse)


def test_a_day_of_which_most_is_unknown_says_nothing(shown: Any) -> None:
    few = events.EstimatedDay(rows=100, expected=0.2, known=40, actual=0.9, deviation=0.01)
    said = events.EstimatedPerformance(metric="cost", limit=0.5, rows=100, loss=0.2, days=[few])
    assert "too few outcomes are known yet" in shown(said)
