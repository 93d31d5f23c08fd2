"""A deployment against its reference as one page that stands alone: no script, no font, no picture from elsewhere.

From the whole to the parts: how it stands in a sentence and a few numbers, every feature's effect on one axis, the
evidence over time with what was told, and then a card per feature: where its rows went and how its effect grew, between
its bounds. Bins of numbers hold about as many rows each in the reference, so a number that hasn't changed is a level
skyline, whatever its distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from golden import promises
from golden.monitor_plots import (
    STYLE,
    Level,
    bounds_of,
    by_how_surely,
    distribution,
    ends,
    over_time,
    relation,
    whisker,
)
from golden.output import moment
from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb

_STYLE: Final = """
:root { color-scheme: light dark; --bg: #f7f8fa; --card: #fff; --fg: #1a1d21; --dim: #646b76; --line: #dfe2e7;
  --now: #2563eb; --bad: #d1242f; --good: #1a7f37; --some: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --bg: #0f1215; --card: #171b20; --fg: #e6e8ea; --dim: #949ca6;
  --line: #2c323a; --now: #60a5fa; --bad: #ff7b72; --good: #57ab5a; --some: #d4a72c } }
body { background: var(--bg); color: var(--fg); font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 74rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h1 small { color: var(--dim); font-weight: normal; font-size: 1rem }
h2 { font-size: 1rem; margin: 0 } p { margin: .2rem 0 .6rem } .dim { color: var(--dim); font-size: .85rem }
.state { border-radius: 1rem; color: #fff; font-size: .8rem; padding: .15rem .7rem; vertical-align: middle;
  background: var(--good) } .state.noticed { background: var(--some) }
.state:is(.detected, .degraded, .violated) { background: var(--bad) }
@media (prefers-color-scheme: dark) { .state { color: #0f1215 } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem;
  margin: 0 0 1rem } .card.beyond { border-color: var(--bad) } .card.beyond > p b { color: var(--bad) }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem }
.cards .card { margin: 0 }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .8rem 0 1.2rem } .facts div { color: var(--dim) }
.facts b { color: var(--fg); display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums }
.row { display: grid; grid-template-columns: minmax(5rem, 24%) 1fr 3.5rem; gap: .8rem; align-items: center }
.row a { color: inherit; overflow: hidden; text-decoration: none; text-overflow: ellipsis; white-space: nowrap }
.row a:hover { text-decoration: underline } .row span { text-align: right; font-variant-numeric: tabular-nums }
.row.beyond span, .row.beyond a { color: var(--bad); font-weight: 600 }
table { border-spacing: 0; font-variant-numeric: tabular-nums } th { color: var(--dim); font-weight: normal }
th, td { padding: .1rem 1.4rem .1rem 0; text-align: left }
ul { list-style: none; margin: .4rem 0 0; padding: 0 } li { margin: .2rem 0 } time { color: var(--dim) }
"""


def render(report: pb.GetReportResponse, history: pb.GetHistoryResponse) -> str:
    """The page's HTML."""
    title = escape(f"{report.model}@{report.version}")
    effects = {each.feature: each for each in sorted(report.features, key=by_how_surely)}
    order = {name: place for place, name in enumerate(effects)}
    shown = sorted(history.distributions, key=lambda each: order.get(each.feature, len(order)))
    cards = "".join(_card(each, effects.get(each.feature), history) for each in shown)
    legend = (
        '<p class="dim">Bars and bands: now. Black or white lines: the reference, as high as the bars would be without '
        "a change. Below them the effect over time, half way up what is tolerated.</p>"
        if cards
        else ""
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}{STYLE}</style>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><h1>{title} '
        f"<small>{escape(report.role)} in {escape(report.environment)}</small> {_state(report)}</h1>"
        f"<p>{escape(report.sentence)}</p>{_facts(report, history)}{_overview(report, history)}"
        f"{_evidence(history)}{_relations(report)}{_performance(report)}{_estimated(report)}{legend}"
        f'<div class="cards">{cards}</div></html>'
    )


def _state(report: pb.GetReportResponse) -> str:
    return f'<span class="state {escape(report.state)}">{escape(report.state)}</span>' if report.state else ""


def _facts(report: pb.GetReportResponse, history: pb.GetHistoryResponse) -> str:
    facts = [(f"{report.rows_seen:,}", f"records as {report.role}")]
    if history.reference_rows:
        facts.append((f"{history.reference_rows:,}", "rows of reference"))
        facts.append((f"{history.false_alarms_per_year:g} a year", "false alarms at the most, expected"))
    if report.HasField("newest_record_at"):
        facts.append((moment(report.newest_record_at), "newest record"))
    if report.outcomes:
        facts.append((f"{report.log_loss:.3f}", f"log loss on {report.outcomes:,} known outcomes"))
    if report.rows_dropped:
        facts.append((f"{report.rows_dropped:,}", "records dropped by servers"))
    cells = "".join(f"<div><b>{escape(value)}</b>{escape(what)}</div>" for value, what in facts)
    return f'<div class="facts">{cells}</div>'


def _overview(report: pb.GetReportResponse, history: pb.GetHistoryResponse) -> str:
    if not report.features:
        return ""
    rows = "".join(
        f'<div class="row{_beyond(each)}"><a href="#{escape(each.feature, quote=True)}">{escape(each.feature)}</a>'
        f"{whisker(each)}<span>{each.effect:.3f}</span></div>"
        for each in sorted(report.features, key=by_how_surely)
    )
    return (
        f'<section class="card"><h2>How far each feature has moved</h2><p class="dim">{escape(history.effect)}, since '
        "evidence began anew: a mark on the band between its bounds. Half way, dashed, is what is tolerated; "
        f"what lies beyond it with the whole band has drifted.</p>{rows}</section>"
    )


def _evidence(history: pb.GetHistoryResponse) -> str:
    if not history.moments:
        return ""
    values = [max(each.log_evidence, 0.0) for each in history.moments]
    found = [place for place, each in enumerate(history.moments) if each.found]
    return (
        '<section class="card"><h2>Evidence that anything changed</h2><p class="dim">Dashed: where it is told, for '
        f"{_promise(history.false_alarms_per_year)}. A bar: something was told.</p>"
        f"{over_time([Level(value, value, value) for value in values], history.log_threshold, found)}"
        f"{_began_and_ended(history)}{_found(history)}</section>"
    )


def _relations(report: pb.GetReportResponse) -> str:
    told = [each for each in report.relations if each.log_evidence > report.log_threshold]
    if not told:
        return ""
    bars = "".join(relation(each) for each in told)
    return (
        '<section class="card"><h2>What goes together otherwise</h2><p class="dim">The share of records that have both '
        f'or neither; the mark is the reference.</p><div class="texts pairs">{bars}</div></section>'
    )


def _performance(report: pb.GetReportResponse) -> str:
    if not report.HasField("performance"):
        return ""
    kept = report.performance
    metrics = "".join(f"<div><b>{escape(now)}</b>{escape(name)}</div>" for name, now in promises.metric_rows(kept))
    return (
        f'<section class="card"><h2>The promise, by outcomes</h2><p>{escape(promises.standing(kept))}</p>'
        f'<div class="facts">{metrics}</div>{_table(*promises.segment_rows(kept, whole=True))}'
        f"{_table(*promises.day_rows(kept))}</section>"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(each)}</th>' for each in headings)}</tr>{cells}</table>"


def _estimated(report: pb.GetReportResponse) -> str:
    if not report.HasField("estimated"):
        return ""
    said = report.estimated
    return (
        f'<section class="card"><h2>Before outcomes come: an estimate</h2><p>{escape(promises.expectation(said))}</p>'
        f'<p>{escape(promises.comparison(said))}</p><p class="dim">{escape(promises.ASSUMED)}</p>{_days(said)}'
        f"{_table(*promises.expected_rows(said, report.performance))}</section>"
    )


def _days(said: events.EstimatedPerformance) -> str:
    """What was expected of each day as a line, and what turned out as marks."""
    if len(said.days) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    plot = over_time(
        [Level(day.expected, day.expected, day.expected) for day in said.days],
        said.limit,
        marks=[day.actual if day.HasField("actual") else None for day in said.days],
    )
    first, last = (f"{said.days[place].day.ToDatetime():%Y-%m-%d}" for place in (0, -1))
    return plot + ends(first, "line: expected; marks: what turned out; dashed: promised at most", last)


def _promise(per_year: float) -> str:
    return f"at most {per_year:g} false alarm{'' if per_year == 1 else 's'} a year"


def _began_and_ended(history: pb.GetHistoryResponse) -> str:
    return ends(moment(history.moments[0].at), moment(history.moments[-1].at))


def _found(history: pb.GetHistoryResponse) -> str:
    items = "".join(
        f"<li><time>{escape(moment(each.at))}</time> <b>{escape(one.level)}</b> {escape(one.sentence)}</li>"
        for each in history.moments
        for one in each.found
    )
    return f"<ul>{items}</ul>" if items else ""


def _card(shape: pb.Distribution, effect: events.FeatureEffect | None, history: pb.GetHistoryResponse) -> str:
    said = "no record since evidence restarted" if effect is None else _said(effect, history.effect)
    return (
        f'<section class="card{_beyond(effect)}" id="{escape(shape.feature, quote=True)}">'
        f"<h2>{escape(shape.feature)}</h2><p>{said}</p>{distribution(shape)}"
        f"{_effect_over_time(shape.feature, effect, history.moments) if history.moments else ''}"
        f"{_began_and_ended(history) if history.moments else ''}</section>"
    )


def _beyond(effect: events.FeatureEffect | None) -> str:
    return " beyond" if effect is not None and effect.lower > effect.tolerance else ""


def _said(effect: events.FeatureEffect, name: str) -> str:
    others = ", ".join(
        f"{escape(other)} {value:.3f}" for other, value in sorted(effect.effects.items()) if other != name
    )
    return f'<b>{escape(name)}</b> {bounds_of(effect)}<br><span class="dim">{others}</span>'


def _effect_over_time(name: str, now: events.FeatureEffect | None, moments: Sequence[pb.Moment]) -> str:
    """The effect between its bounds; a moment at which a finding was about others has none."""
    by_moment = [next((each for each in at.features if each.feature == name), None) for at in moments]
    held = [each for each in (*by_moment, now) if each is not None]
    limit = held[-1].tolerance if held else 0.0
    return over_time([Level(each.effect, each.lower, each.upper) if each else None for each in by_moment], limit)
