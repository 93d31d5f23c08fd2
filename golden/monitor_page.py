"""A deployment against its reference as one page that stands alone: no script, no font, no picture from elsewhere.

First the evidence over time, then a card per feature: where its rows went, bin by bin, with the reference as a line,
and its effect over time against what is tolerated. Bins of numbers hold about as many rows each in the reference, so a
number that hasn't changed is a level skyline, whatever its distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from golden.output import moment
from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb

_WIDTH: Final = 480
_HEIGHT: Final = 110
_STYLE: Final = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1a1d21; --dim: #6b7280; --line: #e5e7eb; --now: #2563eb;
  --then: #9ca3af; --bad: #d1242f }
@media (prefers-color-scheme: dark) { :root { --bg: #14171a; --fg: #e6e8ea; --dim: #8b949e; --line: #2a2f35;
  --now: #60a5fa; --bad: #ff7b72 } }
body { background: var(--bg); color: var(--fg); font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 66rem; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1rem; margin: 0 } p { margin: .25rem 0 1rem; color: var(--dim) }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); gap: 1rem }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem }
.card.beyond { border-color: var(--bad) } .beyond b { color: var(--bad) }
svg { display: block; width: 100%; height: auto; margin: .4rem 0 } text { fill: var(--dim); font-size: 10px }
.now { fill: var(--now); opacity: .75 } .then { fill: none; stroke: var(--fg); stroke-width: 1.5 }
.path { fill: none; stroke: var(--now); stroke-width: 1.5 } .limit { stroke: var(--bad); stroke-dasharray: 4 3 }
.base { stroke: var(--line) } .found { fill: var(--bad) } li { margin: .2rem 0 }
"""


def render(report: pb.GetReportResponse, history: pb.GetHistoryResponse) -> str:
    """The page's HTML."""
    title = escape(f"{report.model}@{report.version}")
    effects = {each.feature: each for each in report.features}
    order = {name: place for place, name in enumerate(effects)}
    shown = sorted(history.distributions, key=lambda each: order.get(each.feature, len(order)))
    cards = "".join(_card(each, effects.get(each.feature), history) for each in shown)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"><h1>{title} in {escape(report.environment)}</h1>'
        f"<p>{escape(report.sentence)} {report.rows_seen:,} records as {escape(report.role)}, beside a reference of "
        f"{history.reference_rows:,}.</p>{_evidence(history)}{_found(history)}"
        f'<div class="cards">{cards}</div></html>'
    )


def _evidence(history: pb.GetHistoryResponse) -> str:
    values = [max(each.log_evidence, 0.0) for each in history.moments]
    if not values:
        return ""
    promise = f"at most {history.false_alarms_per_year:g} false alarms a year"
    found = [place for place, each in enumerate(history.moments) if each.found]
    return (
        '<section class="card"><h2>Evidence that anything changed</h2><p>Natural logarithm of the e-value; the line is '
        f"where it is told: {promise}.</p>{_over_time(values, history.log_threshold, history.moments, found)}"
        "</section><br>"
    )


def _found(history: pb.GetHistoryResponse) -> str:
    items = "".join(
        f"<li>{escape(moment(each.at))} <b>{escape(one.level)}</b> {escape(one.sentence)}</li>"
        for each in history.moments
        for one in each.found
    )
    return f"<ul>{items}</ul>" if items else ""


def _card(shape: pb.Distribution, effect: events.FeatureEffect | None, history: pb.GetHistoryResponse) -> str:
    beyond = effect is not None and effect.lower > effect.tolerance
    said = "no record since evidence restarted" if effect is None else _said(effect, history.effect)
    by_moment = [{each.feature: each.effect for each in at.features} for at in history.moments]
    values = [effects.get(shape.feature, 0.0) for effects in by_moment]
    limit = effect.tolerance if effect else 0.0
    over_time = _over_time(values, limit, history.moments, []) if values else ""
    return (
        f'<section class="card{" beyond" if beyond else ""}"><h2>{escape(shape.feature)}</h2><p>{said}</p>'
        f"{_distribution(shape)}{over_time}</section>"
    )


def _said(effect: events.FeatureEffect, name: str) -> str:
    others = ", ".join(
        f"{escape(other)} {value:.3f}" for other, value in sorted(effect.effects.items()) if other != name
    )
    bounds = f"between {effect.lower:.3f} and {effect.upper:.3f}; {effect.tolerance:g} is tolerated"
    return f"<b>{escape(name)} {effect.effect:.3f}</b>, {bounds}. {others}"


def _distribution(shape: pb.Distribution) -> str:
    """Bars of now, and the reference's skyline over them."""
    then, now = (_shares(counts) for counts in (shape.reference, shape.now))
    top, step = max([*then, *now, 1e-9]), _WIDTH / max(len(then), 1)
    bars = "".join(
        f'<rect class="now" x="{place * step:.1f}" y="{_HEIGHT * (1 - share / top):.1f}" '
        f'width="{max(step - 1, 1):.1f}" height="{_HEIGHT * share / top:.1f}">'
        f"<title>{escape(label)}: {share:.1%} now, {before:.1%} then</title></rect>"
        for place, (share, before, label) in enumerate(zip(now, then, shape.labels, strict=True))
    )
    skyline = " ".join(
        f"{x:.1f},{_HEIGHT * (1 - share / top):.1f}"
        for place, share in enumerate(then)
        for x in (place * step, (place + 1) * step)
    )
    ends = f"{_label(0, shape.labels[0], 'start')}{_label(_WIDTH, shape.labels[-1], 'end')}" if shape.labels else ""
    return _svg(f'{bars}<polyline class="then" points="{skyline}"/>{ends}')


def _over_time(values: Sequence[float], limit: float, moments: Sequence[pb.Moment], found: Sequence[int]) -> str:
    """A line through the moments, a dashed one for the limit, a dot where something was found."""
    top, last = max([*values, limit * 1.2, 1e-9]), max(len(values) - 1, 1)
    places = [(place / last * _WIDTH, _HEIGHT * (1 - value / top)) for place, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    level = _HEIGHT * (1 - limit / top)
    dots = "".join(
        f'<circle class="found" cx="{places[each][0]:.1f}" cy="{places[each][1]:.1f}" r="4"/>' for each in found
    )
    began, ended = moment(moments[0].at), moment(moments[-1].at)
    return _svg(
        f'<line class="limit" x1="0" x2="{_WIDTH}" y1="{level:.1f}" y2="{level:.1f}"/>'
        f'<polyline class="path" points="{line}"/>{dots}{_label(0, began, "start")}{_label(_WIDTH, ended, "end")}'
    )


def _svg(inner: str) -> str:
    base = f'<line class="base" x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>'
    return f'<svg viewBox="0 -4 {_WIDTH} {_HEIGHT + 20}" role="img">{base}{inner}</svg>'


def _label(x: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{_HEIGHT + 13}" text-anchor="{anchor}">{escape(text)}</text>'


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [rows / total for rows in counts]
