"""`golden trace`: one connected story of a version, as a waterfall in the terminal or as a page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from golden import trace_page
from golden.output import Json, console, escape, print_json
from golden.references import reference
from golden.session import connect
from golden.traces import Episode, Node, episodes_of, read_spans, story_of, walk
from services.chassis.errors import NotFound, Unavailable

_WIDEST: Final = 120  # characters of a line, in however wide a window
_AROUND: Final = 28  # of them for the service, the time and the spaces between; the name has half of the rest
_SHOWN: Final = 40  # spans of an episode, unless --all
_COLOURS: Final = {"registry": "cyan", "governance": "magenta", "deployer": "green", "monitor": "yellow"}
Version = Annotated[str, typer.Argument(metavar="MODEL[@N]", help="A model, or one of its versions.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page that stands alone, instead.")]
Everything = Annotated[bool, typer.Option("--all", help="Show every span of every episode.")]


def trace(version: Version, *, html: Html = None, everything: Everything = False, json: Json = False) -> None:
    """Draw a version's life: each episode, which processes took part, what waited for what."""
    asked = reference(version)
    story = story_of(episodes_of(read_spans(_folder())), asked.model, asked.version)
    if not story:
        raise NotFound(f"no trace names {asked}", fix="check the name with  golden status")
    if html is not None:
        html.write_text(trace_page.render(str(asked), story), encoding="utf-8")
        console.print(f"Wrote {escape(str(html))}")
        return
    if json:
        print_json([_plain(episode) for episode in story])
        return
    for episode in story:
        if episode.is_plumbing and not everything:
            continue
        _draw(episode, everything=everything)


def _folder() -> Path:
    folder = connect().endpoints.traces
    if folder is None:
        raise Unavailable("this platform keeps its traces elsewhere", fix="look into its OpenTelemetry back end")
    return folder


def _plain(episode: Episode) -> dict[str, object]:
    return {
        "trace_id": episode.trace_id,
        "processes": sorted(f"{service}/{pid}" for service, pid in episode.processes),
        "missing_parents": sorted(episode.missing_parents),
        "spans": [
            {"name": s.name, "service": s.service, "seconds": s.seconds, "span_id": s.span_id, "parent_id": s.parent_id}
            for s in episode.spans
        ],
    }


def _draw(episode: Episode, *, everything: bool) -> None:
    began = datetime.fromtimestamp(episode.start_ns / 1e9, UTC).astimezone()
    took = (episode.end_ns - episode.start_ns) / 1e9
    console.print(
        f"\n[bold]{began:%H:%M:%S}[/bold]  {took:.2f} s  {len(episode.spans)} spans"
        f" in {len(episode.processes)} processes  [dim]{episode.trace_id}[/dim]"
    )
    lines = list(walk(episode.roots()))
    for depth, node in lines if everything else lines[:_SHOWN]:
        console.print(_line(node, depth, episode, width=min(console.width, _WIDEST)), no_wrap=True, crop=True)
    if len(lines) > _SHOWN and not everything:
        console.print(f"  [dim]… {len(lines) - _SHOWN} more: --all[/dim]")


def _line(node: Node, depth: int, episode: Episode, *, width: int) -> str:
    span = node.span
    length = max((width - _AROUND) // 2, 8)
    total = max(episode.end_ns - episode.start_ns, 1)
    before = int((span.start_ns - episode.start_ns) / total * length)
    long = max(int((span.end_ns - span.start_ns) / total * length), 1)
    bar = (" " * before + "█" * long).ljust(length)[:length]
    colour = _COLOURS.get(span.service, "blue")
    failed = " [red]failed[/red]" if span.status == "error" else ""
    name = escape(("  " * depth + _short(span.name))[:length].ljust(length))
    return f"  {escape(span.service):<11} {name} [{colour}]{bar}[/{colour}] {span.seconds * 1000:>9.1f} ms{failed}"


def _short(name: str) -> str:
    """A span's name without the package of its gRPC service."""
    return name.rpartition(".")[2].replace("/", ".") if name.startswith("/") else name
