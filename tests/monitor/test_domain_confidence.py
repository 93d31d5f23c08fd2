"""Confidence sequences: right at every moment at once, and sure of a broken promise soon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.performance import LAWS, ever_missed
from services.chassis.errors import Invalid
from services.monitor.domain.confidence import Watched, path
from services.profile.columns import Numbers


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_mean_is_never_outside_for_nearly_all_who_watch_all_the_time(
    law: Callable[[np.random.Generator, int], Numbers],
) -> None:
    """Were the promise of a tenth just kept, 200 streams would have more than 40 misses with a chance of 8e-6."""
    missed = sum(ever_missed(law, seed, rows=1_000, chance=0.1) for seed in range(200))
    assert missed <= 40


def test_looking_at_a_fixed_sizes_interval_all_the_time_breaks_its_promise() -> None:
    """What a confidence sequence is for: the usual interval of 90 % is left sooner or later by most streams."""
    left = 0
    for seed in range(100):
        losses = np.random.default_rng(seed).random(2_000)
        rows = np.arange(1, losses.size + 1)
        left += bool(np.any(np.abs(np.cumsum(losses) / rows - 0.5)[10:] > 1.645 * np.sqrt(1 / 12 / rows)[10:]))
    assert left > 40


def test_outcomes_are_taken_when_they_are_due_and_not_as_they_come() -> None:
    """A fraud is known after a day, everything else after a week: what came first says nothing of the mean."""
    lost = (np.random.default_rng(7).random(20_000) < 0.02).astype(float)
    came = np.argsort(np.arange(lost.size) / 1_000 + np.where(lost > 0, 1, 7), kind="stable")  # 1,000 records a day
    _, as_they_come, _ = path(Watched(), lost[came])
    _, when_due, _ = path(Watched(), lost)
    assert as_they_come.max() > 0.5
    assert when_due.max() < 0.02


def test_losses_in_batches_are_known_as_well_as_one_by_one() -> None:
    losses = np.random.default_rng(3).beta(1, 9, 500)
    at_once, low, high = path(Watched(), losses)
    watched = Watched()
    for part in np.split(losses, [1, 7, 7, 300]):
        watched = watched.after(part)
    assert watched.interval() == pytest.approx(at_once.interval(), rel=1e-12)
    assert watched.interval() == pytest.approx((low[-1], high[-1]), rel=1e-12)
    assert watched.rows == 500


def test_the_unit_of_the_loss_changes_nothing_else() -> None:
    losses = np.random.default_rng(4).beta(1, 9, 500)
    low, high = Watched(bound=1.0).after(losses).interval()
    scaled = Watched(bound=36.0).after(losses * 36.0).interval()
    assert scaled == pytest.approx((low * 36.0, high * 36.0), rel=1e-9)


def test_rare_losses_have_a_tight_interval() -> None:
    random = np.random.default_rng(5)
    rare, common = (Watched().after((random.random(20_000) < share).astype(float)) for share in (0.01, 0.5))
    widths = [high - low for low, high in (rare.interval(), common.interval())]
    assert widths[0] < 0.3 * widths[1]


def test_a_broken_promise_is_certain_sooner_or_later_and_a_kept_one_never() -> None:
    random = np.random.default_rng(6)
    promised = 0.10
    _, low, _ = path(Watched(chance=0.001), (random.random(30_000) < 0.13).astype(float))
    assert 0 < np.argmax(low > promised) < 20_000
    _, low, _ = path(Watched(chance=0.001), (random.random(30_000) < 0.10).astype(float))
    assert not (low > promised).any()


def test_before_the_first_loss_everything_is_possible() -> None:
    assert Watched(bound=4.0).interval() == (0.0, 4.0)
    assert Watched(bound=4.0).after(np.zeros(0)).interval() == (0.0, 4.0)


def test_what_is_no_loss_or_no_chance_is_refused() -> None:
    with pytest.raises(Invalid):
        path(Watched(), np.array([1.5]))
    with pytest.raises(Invalid):
        path(Watched(), np.array([np.nan]))
    with pytest.raises(Invalid):
        Watched(chance=1.0)
    with pytest.raises(Invalid):
        Watched(bound=0.0)
