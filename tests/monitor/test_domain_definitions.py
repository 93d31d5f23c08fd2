"""Each step of the evidence and each bound beside its definition, as scipy computes it on the same data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special
from scipy import stats as untyped

from services.monitor.domain.drift import _running_radius
from services.monitor.domain.evidence import (
    GAINS,
    JEFFREYS,
    LOSS,
    SHIFTS,
    SPREADS,
    Alternatives,
    _log_predicted,
)
from services.monitor.domain.parts import Parts
from services.monitor.domain.special import log_beta, shares_within
from services.profile import Column, profile_of
from services.profile.columns import Numbers
from services.profile.dispersion import middles, normal_scores, pearson

stats: Any = untyped  # its stubs lack the discrete distributions
RANDOM = np.random.default_rng(31)
TEXTS = RANDOM.choice(np.array(list("abcd"), dtype=object), 500, p=[0.4, 0.3, 0.2, 0.1])


def alternatives_of(column: Column) -> tuple[Alternatives, Parts]:
    """What may have happened to a column, with its part."""
    parts = Parts(profile_of({"x": column}))
    return Alternatives(parts), parts


def test_log_beta_is_that_of_scipy() -> None:
    hits, misses = RANDOM.uniform(0.5, 1e5, (2, 200))
    assert log_beta(hits, misses) == pytest.approx(special.betaln(hits, misses), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("rows", [RANDOM.integers(1, 50, 8), np.array([1, 1, 400, 1]), np.ones(60, dtype=int)])
def test_normal_scores_are_van_der_waerdens_of_the_average_ranks_standardised(rows: np.ndarray[Any, Any]) -> None:
    ranks = stats.rankdata(np.repeat(np.arange(rows.size), rows), method="average")
    each = stats.norm.ppf((ranks - 0.5) / rows.sum())
    expected = stats.zscore(each)[np.cumsum(rows) - 1]
    assert normal_scores(rows / rows.sum()) == pytest.approx(expected)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("before", [0, 70])
def test_a_gain_or_a_loss_multiplies_by_the_ratio_of_binomials_of_its_group(place: int, before: int) -> None:
    alternatives, parts = alternatives_of(TEXTS)
    assert parts.overdispersion[0, 0] < 1.3
    known = parts.reference[0] + JEFFREYS
    held, batch = np.zeros((1, known.size)), np.array([[9.0, 3.0, 5.0, 2.0, 1.0, 0.0]])
    held[0, 1] = before
    steps = alternatives.log_ratios(held, batch[np.newaxis])[0, 0, 2 * len(SHIFTS) + len(SPREADS) :]
    hits, others = (known + held[0])[place], (known + held[0]).sum() - (known + held[0])[place]
    share = known[place] / known.sum()
    moved = np.array([*(share + gain * (1 - share) for gain in GAINS), LOSS * share])
    unchanged = stats.betabinom.logpmf(batch[0, place], 20, hits, others)
    expected = stats.binom.logpmf(batch[0, place], 20, moved) - unchanged
    assert steps.reshape(len(GAINS) + 1, -1)[:, place] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("step", "of"),
    [
        pytest.param(2 * list(SHIFTS).index(0.25), lambda z: 0.25 * z, id="up a quarter"),
        pytest.param(2 * list(SHIFTS).index(0.5) + 1, lambda z: -0.5 * z, id="down a half"),
        *(
            pytest.param(
                2 * len(SHIFTS) + place,
                lambda z, factor=factor: stats.norm.logpdf(z, scale=factor**0.5) - stats.norm.logpdf(z),
                id=f"variance by {factor}",
            )
            for place, factor in enumerate(SPREADS)
        ),
    ],
)
def test_a_tilt_multiplies_by_the_ratio_of_multinomials_at_the_mean_of_what_is_known(
    step: int, of: Callable[[Numbers], Numbers]
) -> None:
    """A number that moved, or that spreads more or less: the normal's own density ratio, of each group's score."""
    alternatives, parts = alternatives_of(RANDOM.normal(size=3_000))
    known = parts.reference[0] + np.where(np.isin(np.arange(parts.width), parts.parts[0].unseen), 1.0, JEFFREYS)
    batch = RANDOM.multinomial(40, known / known.sum()).astype(float)
    after = (known + batch) / (known + batch).sum()
    present = known[:-1] / known[:-1].sum()
    scores = stats.norm.ppf(np.cumsum(present) - present / 2)
    scores = (scores - present @ scores) / np.sqrt(present @ (scores - present @ scores) ** 2)
    tilt = of(scores)
    tilt = np.append(tilt, np.log(present @ np.exp(tilt)))  # missing ones keep their share
    tilted = after * np.exp(tilt) / (after @ np.exp(tilt))
    expected = stats.multinomial.logpmf(batch, 40, tilted) - stats.multinomial.logpmf(batch, 40, after)
    steps = alternatives.log_ratios(np.zeros((1, known.size)), batch[np.newaxis, np.newaxis])[0, 0]
    assert steps[step] == pytest.approx(expected)


def test_when_it_changed_stands_on_the_dirichlet_multinomial_of_scipy() -> None:
    counts = RANDOM.integers(0, 30, (5, 6)).astype(float)
    one, other = RANDOM.uniform(0.5, 60, (2, 6))
    expected = [
        stats.dirichlet_multinomial(one, int(row.sum())).logpmf(row)
        - stats.dirichlet_multinomial(other, int(row.sum())).logpmf(row)
        for row in counts
    ]
    found = _log_predicted(one, counts) - _log_predicted(other, counts)
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("hits", "rows"), [(0, 50), (13, 50), (50, 50), (40_000, 100_000)])
def test_a_running_interval_ends_where_the_mixture_martingale_reaches_its_threshold(hits: int, rows: int) -> None:
    """Beta(1/2, 1/2) over each share's likelihood: where it is 1/a, by Ville's inequality, a share is out."""
    cost = np.array([[7.0]])
    radius = _running_radius(np.array([[float(hits)]]), np.array([[float(rows)]]), cost)
    ends = np.array([float(end[0, 0]) for end in shares_within(np.array([[hits / rows]]), radius)])
    inner = ends[(ends > 0) & (ends < 1)]
    mixture = special.betaln(hits + 0.5, rows - hits + 0.5) - special.betaln(0.5, 0.5)
    evidence = mixture - special.xlogy(hits, inner) - special.xlog1py(rows - hits, -inner)
    assert inner.size >= 1
    assert evidence == pytest.approx(7.0, rel=1e-6)


def test_the_overdispersion_is_pearsons_statistic_per_degree_of_freedom() -> None:
    blocks = RANDOM.integers(20, 60, (8, 5))
    expected = stats.chi2_contingency(blocks, correction=False)
    statistic, freedom = pearson(blocks)
    assert statistic == pytest.approx(expected.statistic)
    assert freedom == expected.dof


def test_what_middles_say_is_the_analysis_of_variance_of_their_normal_scores() -> None:
    blocks = np.column_stack((RANDOM.integers(20, 60, (8, 5)), np.zeros(8, dtype=int)))
    held, place = blocks[:, :-1], np.arange(5)
    ranks = np.repeat(place, held.sum(axis=0))
    middle = (stats.rankdata(ranks, method="average") - 0.5) / ranks.size
    scores = stats.zscore(stats.norm.ppf(middle))[np.cumsum(held.sum(axis=0)) - 1]
    groups = [np.repeat(scores, rows) for rows in held]
    between = sum(len(each) * each.mean() ** 2 for each in groups)
    statistic, freedom = middles(blocks)
    assert statistic == pytest.approx(between)  # each score has mean 0 and variance 1
    assert freedom == 7
