"""The pictures of `golden.monitor_page`: SVG that stretches with the page, its words beside it in HTML.

Effects run from nothing to beyond all bounds, and what a person wants to know is on which side of a limit they are. So
an axis bends: a value v is drawn at v / (v + limit) of its length, where the limit is always half way, and a bound of
fifty has its place, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

from golden.sparks import bent
from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb

Bin: TypeAlias = tuple[str, float, float]  # what it holds, and its shares in the reference and now
WIDTH: Final = 480
HEIGHT: Final = 90
MAJORITY: Final = 0.5  # of the reference in one bin: it would hide what the others do, so it is told in words
MOST_TEXTS: Final = 8  # rows of a picture of categories

STYLE: Final = """
svg { display: block; width: 100%; overflow: visible } .plot { height: 5.6rem } .row svg { height: 1.1rem }
svg * { vector-effect: non-scaling-stroke }
.now { fill: var(--now); opacity: .8 } .then { fill: none; stroke: var(--fg); stroke-width: 1.5 }
.band { fill: var(--now); opacity: .18 } .path { fill: none; stroke: var(--now); stroke-width: 2 }
.limit { stroke: var(--bad); stroke-dasharray: 4 3 } .base { stroke: var(--line) }
.mark { fill: var(--fg) }
.found { stroke: var(--bad); stroke-width: 2 } .beyond .now, .beyond .band { fill: var(--bad) }
.ends { display: flex; justify-content: space-between; gap: .5rem; color: var(--dim); font-size: .72rem;
  margin: .15rem 0 .6rem } .ends span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.texts { display: grid; grid-template-columns: minmax(4rem, 9rem) 1fr 3.2rem; gap: .1rem .5rem; align-items: center;
  font-size: .78rem; margin: .3rem 0 .6rem } .texts span:nth-child(3n) { text-align: right; color: var(--dim) }
.texts span:nth-child(3n+1) { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.texts svg { height: .8rem } .pairs { grid-template-columns: minmax(8rem, 45%) 1fr 3.2rem }
"""


@dataclass(frozen=True)
class Level:
    """A value with its bounds at one moment; without bounds both are the value."""

    value: float
    lower: float
    upper: float


def whisker(effect: events.FeatureEffect) -> str:
    """An effect as a dot on the line between its bounds, what is tolerated half way along."""
    left, at, right = (WIDTH * bent(each, effect.tolerance) for each in (effect.lower, effect.effect, effect.upper))
    return (
        f'<svg viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" role="img"><title>{escape(bounds_of(effect))}'
        f'</title><line class="base" x1="0" x2="{WIDTH}" y1="5" y2="5"/><line class="limit" x1="{WIDTH / 2}" '
        f'x2="{WIDTH / 2}" y1="0" y2="10"/><rect class="band" x="{left:.1f}" y="2.5" '
        f'width="{max(right - left, 1):.1f}" height="5"/><rect class="now" x="{max(at - 2.5, 0):.1f}" y="0.5" '
        'width="5" height="9"/></svg>'
    )


def bounds_of(effect: events.FeatureEffect) -> str:
    """An effect and its bounds in words."""
    return f"{effect.effect:.3f}, between {effect.lower:.3f} and {effect.upper:.3f}; {effect.tolerance:g} is tolerated"


def over_time(
    levels: Sequence[Level | None],
    limit: float,
    found: Sequence[int] = (),
    marks: Sequence[float | None] = (),
) -> str:
    """A line through moments with a band between its bounds, a dashed line for the limit, a bar where it was told.

    Args:
        levels: What the line shows, moment by moment.
        limit: Half way up.
        found: The moments with a bar.
        marks: Another value of a moment, as a mark; None where it has none.
    """
    last = max(len(levels) - 1, 1)
    points = [(place / last * WIDTH, level) for place, level in enumerate(levels) if level is not None]

    def at(x: float, value: float) -> str:
        return f"{x:.1f},{HEIGHT * (1 - bent(value, limit)):.1f}"

    line = " ".join(at(x, level.value) for x, level in points)
    around = [at(x, level.upper) for x, level in points] + [at(x, level.lower) for x, level in reversed(points)]
    bars = "".join(
        f'<line class="found" x1="{each / last * WIDTH:.1f}" x2="{each / last * WIDTH:.1f}" y1="0" y2="{HEIGHT}"/>'
        for each in found
    )
    dots = "".join(
        f'<rect class="mark" x="{place / last * WIDTH - 2:.1f}" y="{HEIGHT * (1 - bent(value, limit)) - 2:.1f}" '
        'width="4" height="4"/>'
        for place, value in enumerate(marks)
        if value is not None
    )
    half = HEIGHT / 2
    return _plot(
        f'<line class="limit" x1="0" x2="{WIDTH}" y1="{half}" y2="{half}"/><polygon class="band" '
        f'points="{" ".join(around)}"/>{bars}<polyline class="path" points="{line}"/>{dots}'
    )


def ends(*words: str) -> str:
    """Words beneath a picture, from its left end to its right."""
    return '<div class="ends">' + "".join(f"<span>{escape(each)}</span>" for each in words) + "</div>"


def by_how_surely(effect: events.FeatureEffect) -> tuple[float, float]:
    """The order of features: those that are furthest beyond what is tolerated at the least, then by estimate."""
    return -effect.lower / (effect.tolerance or 1.0), -effect.effect


def sides_of(relation: events.RelationEffect) -> tuple[str, str]:
    """Two features of which a record has both sides or neither, in words."""
    return f"{relation.first} ({relation.first_side})", f"{relation.second} ({relation.second_side})"


def distribution(shape: pb.Distribution) -> str:
    """Where the rows went, now as bars and in the reference as a line."""
    return _numbers(shape) if shape.numeric else _texts(shape)


def bins_of(shape: pb.Distribution) -> tuple[str, list[Bin]]:
    """What to draw of a feature: a number's value that most rows have, in words, and all other bins that hold any."""
    bins = list(zip(shape.labels, _shares(shape.reference), _shares(shape.now), strict=True))
    most = max(bins, key=lambda each: each[1], default=("", 0.0, 0.0))
    apart = shape.numeric and most[1] > MAJORITY
    held = [each for each in bins if (each[1] or each[2]) and not (apart and each is most)]
    return (_moved(most[0].removeprefix("up to "), *most[1:]) if apart else ""), held


def _numbers(shape: pb.Distribution) -> str:
    """Bars of now, and the reference's skyline over them; a value that most rows have is told in words instead."""
    said, held = bins_of(shape)
    return (ends(said) if said else "") + (_skyline(held) if held else "")


def _skyline(bins: Sequence[Bin]) -> str:
    step, top = WIDTH / len(bins), max(max(then, now) for _, then, now in bins)
    bars = "".join(
        f'<rect class="now" x="{place * step + step * 0.06:.1f}" y="{HEIGHT * (1 - now / top):.1f}" '
        f'width="{step * 0.88:.1f}" height="{HEIGHT * now / top:.1f}">'
        f"<title>{escape(_moved(label, then, now))}</title></rect>"
        for place, (label, then, now) in enumerate(bins)
    )
    skyline = " ".join(
        f"{x:.1f},{HEIGHT * (1 - then / top):.1f}"
        for place, (_, then, _) in enumerate(bins)
        for x in (place * step, (place + 1) * step)
    )
    plot = _plot(f'{bars}<polyline class="then" points="{skyline}"/>')
    return plot + ends(bins[0][0], bins[len(bins) // 2][0], bins[-1][0])


def relation(each: events.RelationEffect) -> str:
    """How often two features go together, as a bar for now with the reference as a mark."""
    return _bar(" and ".join(sides_of(each)), each.reference, each.now, 1.0)


def _texts(shape: pb.Distribution) -> str:
    """A bar per category, the reference as a mark on it; those that moved most, in the reference's order."""
    _, bins = bins_of(shape)
    moved = sorted(range(len(bins)), key=lambda place: -abs(bins[place][2] - bins[place][1]))
    held = [bins[place] for place in sorted(moved[:MOST_TEXTS])]
    top = max([1e-9, *(share for _, *shares in held for share in shares)])
    rows = "".join(_bar(*each, top) for each in held)
    more = len(bins) - len(held)
    return f'<div class="texts">{rows}</div>' + (ends(f"{more} more moved less") if more > 0 else "")


def _bar(label: str, then: float, now: float, top: float) -> str:
    mark, said = WIDTH * then / top, escape(_moved(label, then, now), quote=True)
    return (
        f'<span title="{said}">{escape(label)}</span><svg viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" '
        f'role="img"><title>{said}</title><rect class="now" x="0" y="1" width="{WIDTH * now / top:.1f}" height="8"/>'
        f'<line class="then" x1="{mark:.1f}" x2="{mark:.1f}" y1="0" y2="10"/></svg><span>{now:.1%}</span>'
    )


def _moved(label: str, then: float, now: float) -> str:
    return f"{label}: {now:.1%} now, {then:.1%} in the reference"


def _plot(inner: str) -> str:
    base = f'<line class="base" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    return f'<svg class="plot" {size} role="img">{base}{inner}</svg>'


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [rows / total for rows in counts]
