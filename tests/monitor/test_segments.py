"""Segments are bounded in number, length and age, whatever the values are, and a report reads what it tells."""

from __future__ import annotations

import random
import string
from datetime import date, timedelta

import numpy as np
import pytest

from goldenpath.modelserver.v1 import events_pb2 as pb
from services.monitor import queries
from services.monitor.domain.budget import Settings
from services.monitor.domain.judge import Judge
from services.monitor.domain.promise import FOLLOWED, Promise
from services.monitor.join_store import PATIENCE
from services.monitor.segments import LONGEST, MISSING, MOST, OTHER, Apart, values_of
from services.profile import CodedText
from tests.monitor.conftest import Bench
from tests.monitor.made_up import batch_of, credit, profile
from tests.monitor.outcomes import arrive, count, turn_out

WEEK = timedelta(days=7)
DAY = date(2026, 1, 1)
LONG = "".join(random.Random(7).choices(string.ascii_letters, k=9_000))  # no key can hold it, compressed or not


@pytest.fixture
def promised(bench: Bench) -> Bench:
    bench.judge = Judge(profile(), Settings(), Promise("log_loss", 0.4, WEEK, segments=("education",)))
    return bench


async def arrive_with(bench: Bench, texts: list[str | None]) -> pb.InferenceRecorded:
    """Records with these educations arrive, and are due soon."""
    rows = len(texts)
    times = [int(bench.clock.now().timestamp() * 1e6)] * rows
    columns = credit(bench.random, rows, education=np.array(texts, dtype=object))
    body = batch_of(columns, np.full(rows, 0.1), event_times_us=times)
    await bench.take(body)
    return body


def test_values_are_cut_to_what_a_key_can_hold() -> None:
    dictionary = ["a\0b", "x" * (LONGEST + 1), "x" * (LONGEST + 2), "plain"]
    column = pb.Column(name="education", dictionary=dictionary, codes=[3, -1, 1, 2, 0])
    values = values_of(column, np.array([4, 3, 2, 1, 0]))
    assert [values.dictionary[code] for code in values.codes] == ["a?b", "x" * LONGEST, "x" * LONGEST, MISSING, "plain"]


def test_of_many_values_the_commonest_are_told_apart_and_those_that_were_stay() -> None:
    texts = CodedText(np.arange(200).repeat(np.arange(200) + 1), tuple(f"{number:03}" for number in range(200)))
    apart = Apart([(DAY, "education", "000")])
    split = dict(apart.split(DAY, "education", texts))
    assert set(split) == {OTHER, "000", *(f"{number:03}" for number in range(200 - MOST + 1, 200))}
    assert sum(which.sum() for which in split.values()) == len(texts)
    assert set(dict(apart.split(DAY, "education", CodedText(np.zeros(9, dtype=int), ("new",))))) == {OTHER}
    assert set(dict(apart.split(DAY, "another", CodedText(np.zeros(9, dtype=int), ("new",))))) == {"new"}


@pytest.mark.servers
async def test_texts_that_no_key_can_hold_are_counted(promised: Bench) -> None:
    body = await arrive_with(promised, [LONG, "a\0b", None, "school"])
    await turn_out(promised, body, [0.0] * 4)
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert {each.value for each in found.segments} == {LONG[:LONGEST], "a?b", MISSING, "school"}


@pytest.mark.servers
async def test_a_segment_that_is_different_in_each_record_stays_bounded(promised: Bench) -> None:
    for number in range(4):
        await arrive_with(promised, [f"customer {number}-{each}" for each in range(60)])
        promised.clock.advance(PATIENCE * WEEK / 1e6)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    (row,) = await promised.rows("SELECT count(*) AS values, sum(rows) AS rows FROM performance_days WHERE value <> ''")
    assert (row["values"], row["rows"]) == (MOST + 1, 240)


@pytest.mark.servers
async def test_days_that_nobody_asks_for_are_let_go(promised: Bench) -> None:
    for _ in range(FOLLOWED.days + 3):
        promised.clock.advance(timedelta(days=1))
        await arrive(promised, rows=20)
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    (row,) = await promised.rows("SELECT count(DISTINCT day) AS days FROM performance_days")
    assert len(found.days) == row["days"] == FOLLOWED.days


@pytest.mark.servers
async def test_a_report_reads_the_sums_of_the_segments_that_it_tells_and_counting_those_it_adds_to(
    promised: Bench,
) -> None:
    promised.judge = Judge(profile(), Settings(), Promise("log_loss", 0.4, WEEK, segments=("education", "region")))
    for _ in range(2):
        promised.clock.advance(timedelta(days=1))
        rows = 2 * MOST
        columns = credit(promised.random, rows, education=np.array([f"{n:02}" for n in range(MOST)] * 2, dtype=object))
        columns["region"] = np.array(["far"] + ["near"] * (rows - 1), dtype=object)
        times = [int(promised.clock.now().timestamp() * 1e6)] * rows
        body = batch_of(columns, np.full(rows, 0.1), event_times_us=times)
        await promised.take(body)
        await turn_out(promised, body, [0.0] * rows)
    promised.clock.advance(PATIENCE * WEEK)
    await count(promised)
    async with promised.database.begin() as uow:
        await uow.connection.execute("UPDATE performance_days SET sums = 'unreadable' WHERE value = 'far'")
    await arrive_with(promised, ["school"] * 9)
    promised.clock.advance(PATIENCE * WEEK)
    found = await count(promised)
    assert len(found.segments) == MOST
    assert "far" not in {each.value for each in found.segments}
    assert all(each.metrics for each in found.segments if each.value != "school")
    async with promised.database.read() as connection:
        watch = await queries.find_watch("credit", "production", 1, connection)
        report = await queries.report(watch, promised.judge, connection)
    assert len(report.performance.segments) == MOST
