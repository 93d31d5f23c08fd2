"""A version's story as one page that stands alone: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from golden.traces import Episode, Node, walk

_STYLE: Final = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1a1d21; --dim: #6b7280; --line: #e5e7eb }
@media (prefers-color-scheme: dark) { :root { --bg: #14171a; --fg: #e6e8ea; --dim: #8b949e; --line: #2a2f35 } }
body { background: var(--bg); color: var(--fg); font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 0 1.5rem } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
.id { color: var(--dim); font: 12px ui-monospace, monospace; font-weight: normal }
.row { display: grid; grid-template-columns: 7rem 22rem 1fr 6rem; gap: .5rem; align-items: center;
  border-top: 1px solid var(--line); padding: 1px 0 }
.row:hover { background: color-mix(in srgb, var(--fg) 6%, transparent) }
.name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis } .service { color: var(--dim) }
.time { text-align: right; font-variant-numeric: tabular-nums; color: var(--dim) }
.lane { position: relative; height: 12px } .bar { position: absolute; height: 12px; border-radius: 2px; min-width: 2px }
.failed .name { color: #d1242f }
"""
_COLOURS: Final = {
    "registry": "#0e7490",
    "governance": "#a21caf",
    "deployer": "#15803d",
    "monitor": "#ca8a04",
    "modelserver": "#2563eb",
}


def render(title: str, story: Sequence[Episode]) -> str:
    """The page's HTML."""
    body = "\n".join(_episode(episode) for episode in story if not episode.is_plumbing)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"><h1>The story of {escape(title)}</h1>{body}</html>'
    )


def _episode(episode: Episode) -> str:
    began = datetime.fromtimestamp(episode.start_ns / 1e9, UTC).astimezone()
    took = (episode.end_ns - episode.start_ns) / 1e9
    heading = (
        f"<h2>{began:%H:%M:%S} &middot; {took:.2f} s &middot; {len(episode.processes)} processes "
        f'<span class="id">{episode.trace_id}</span></h2>'
    )
    return heading + "".join(_row(node, depth, episode) for depth, node in walk(episode.roots()))


def _row(node: Node, depth: int, episode: Episode) -> str:
    span = node.span
    total = max(episode.end_ns - episode.start_ns, 1)
    left = (span.start_ns - episode.start_ns) / total * 100
    width = (span.end_ns - span.start_ns) / total * 100
    failed = " failed" if span.status == "error" else ""
    colour = _COLOURS.get(span.service, "#64748b")
    facts = escape("\n".join(f"{name}: {value}" for name, value in sorted(span.attributes.items())), quote=True)
    return (
        f'<div class="row{failed}" title="{facts}"><span class="service">{escape(span.service)}</span>'
        f'<span class="name" style="padding-left:{depth * 0.8:.1f}rem">{escape(span.name)}</span>'
        f'<span class="lane"><span class="bar" style="left:{left:.2f}%;width:{width:.2f}%;background:{colour}"></span>'
        f'</span><span class="time">{span.seconds * 1000:,.1f} ms</span></div>'
    )
