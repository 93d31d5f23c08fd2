"""Panes: the same records give the same ones, however they come, and there are never too many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.panes import LENGTH, Pane, added, cut, thinned
from services.profile import CodedText, Column, Window, count, profile_of

RANDOM = np.random.default_rng(8)
ROWS = 300
NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1e6)
COLUMNS: dict[str, Column] = {
    "amount": RANDOM.lognormal(size=ROWS),
    "city": CodedText(RANDOM.integers(-1, 3, ROWS), ("Rome", "Oslo", "Bern")),
}
TIMES = NOON + RANDOM.integers(-60_000_000, 60_000_000, ROWS)
PROFILE = profile_of(COLUMNS)


def cut_of(rows: list[int]) -> tuple[Pane, ...]:
    city = COLUMNS["city"]
    assert isinstance(city, CodedText)
    columns: dict[str, Column] = {
        "amount": np.asarray(COLUMNS["amount"])[rows],
        "city": CodedText(city.codes[rows], city.dictionary),
    }
    return cut(PROFILE, columns, TIMES[rows])


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(ROWS)), st.lists(st.integers(1, ROWS - 1), max_size=8, unique=True), st.randoms())
def test_any_split_order_and_merge_gives_the_same_panes_to_the_byte(
    order: list[int], cuts: list[int], random: Random
) -> None:
    batches = [cut_of(order[a:b]) for a, b in pairwise([0, *sorted(cuts), ROWS])]
    random.shuffle(batches)
    panes: tuple[Pane, ...] = ()
    for batch in batches:
        panes = added(panes, batch)
    assert [(pane.began, pane.window.to_bytes()) for pane in panes] == [
        (pane.began, pane.window.to_bytes()) for pane in cut_of(list(range(ROWS)))
    ]


def test_a_batch_is_cut_at_every_ten_seconds_of_its_records_own_time() -> None:
    panes = cut_of(list(range(ROWS)))
    assert len(panes) == 12
    assert {pane.until - pane.began for pane in panes} == {LENGTH}
    assert total(panes) == count(PROFILE, COLUMNS)


def test_too_many_panes_are_joined_two_by_two_the_older_half_of_them() -> None:
    panes = cut_of(list(range(ROWS)))
    fewer = thinned(panes)
    assert [pane.until - pane.began for pane in fewer] == [2 * LENGTH] * 3 + [LENGTH] * 6
    assert total(fewer) == total(panes)


def test_a_late_record_counts_in_the_pane_of_its_time_even_where_panes_were_joined() -> None:
    panes = cut_of(list(range(ROWS)))
    late = Pane(panes[1].began, panes[1].until, panes[1].window)
    joined = added(thinned(panes), [late])
    assert len(joined) == len(thinned(panes))
    assert joined[0].window == panes[0].window + panes[1].window + late.window
    assert joined[0].until == panes[0].began + timedelta(seconds=20)


def total(panes: tuple[Pane, ...]) -> Window:
    first, *others = (pane.window for pane in panes)
    return sum(others, start=first)
