"""Reads spans from the platform's files, and finds the one story that a model's version has been through.

An episode is a trace; episodes are joined by links. The story of a version begins with the traces that name it, and
takes in every trace that is linked to one of them, in either direction.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as a process wrote it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    pid: int
    start_ns: int
    end_ns: int
    status: str
    attributes: dict[str, Any]
    links: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e9


_KEYS: Final = [key.name for key in fields(Span) if key.name != "links"]


@dataclass
class Node:
    """A span with what it caused."""

    span: Span
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Episode:
    """One trace."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def start_ns(self) -> int:
        """When its first span began."""
        return min(span.start_ns for span in self.spans)

    @property
    def end_ns(self) -> int:
        """When its last span ended."""
        return max(span.end_ns for span in self.spans)

    @property
    def processes(self) -> set[tuple[str, int]]:
        """The processes that took part."""
        return {(span.service, span.pid) for span in self.spans}

    @property
    def is_plumbing(self) -> bool:
        """True for the transaction of a polled batch: its events are spans of their own episodes."""
        return all(span.name.startswith("consume ") for span in self.spans)

    @property
    def missing_parents(self) -> set[str]:
        """Spans that are named as a parent and aren't there."""
        there = {span.span_id for span in self.spans}
        return {span.parent_id for span in self.spans if span.parent_id} - there

    def roots(self) -> list[Node]:
        """The spans as trees, in the order of their beginnings."""
        nodes = {span.span_id: Node(span) for span in self.spans}
        roots: list[Node] = []
        for node in nodes.values():
            parent = nodes.get(node.span.parent_id)
            (parent.children if parent else roots).append(node)
        for node in nodes.values():
            node.children.sort(key=lambda child: child.span.start_ns)
        return sorted(roots, key=lambda node: node.span.start_ns)


def walk(nodes: Sequence[Node], depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every node below these, each before what it caused, with its depth from 0."""
    for node in nodes:
        yield depth, node
        yield from walk(node.children, depth + 1)


def read_spans(folder: Path) -> Iterator[Span]:
    """Every span in a folder of span files; a line that is still being written is passed over."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            if (span := _span(line)) is not None:
                yield span


def _span(line: str) -> Span | None:
    try:
        row = json.loads(line)
        links = tuple(link["trace_id"] for link in row["links"])
        return Span(links=links, **{name: row[name] for name in _KEYS})
    except (ValueError, TypeError, KeyError):
        return None


def episodes_of(spans: Iterable[Span]) -> dict[str, Episode]:
    """Spans by trace."""
    by_trace: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_trace[span.trace_id].append(span)
    return {trace_id: Episode(trace_id, tuple(found)) for trace_id, found in by_trace.items()}


def story_of(episodes: dict[str, Episode], model: str, version: int) -> list[Episode]:
    """The episodes that a model, or one of its versions, went through, oldest first.

    Args:
        episodes: All episodes by trace id.
        model: The model's name.
        version: The version's number; 0: any.
    """
    joined = _neighbours(episodes.values())
    found = {trace_id for trace_id, episode in episodes.items() if _names(episode.spans, model, version)}
    waiting = list(found)
    while waiting:
        for neighbour in joined[waiting.pop()]:
            if neighbour in episodes and neighbour not in found and _is_about(episodes[neighbour], model, version):
                found.add(neighbour)
                waiting.append(neighbour)
    return sorted((episodes[trace_id] for trace_id in found), key=lambda episode: episode.start_ns)


def _neighbours(episodes: Iterable[Episode]) -> dict[str, set[str]]:
    joined: dict[str, set[str]] = defaultdict(set)
    for episode in episodes:
        for span in episode.spans:
            for linked in span.links:
                joined[episode.trace_id].add(linked)
                joined[linked].add(episode.trace_id)
    return joined


def _names(spans: Sequence[Span], model: str, version: int) -> bool:
    return any(
        span.attributes.get("goldenpath.model") == model
        and (not version or span.attributes.get("goldenpath.version") == version)
        for span in spans
    )


def _is_about(episode: Episode, model: str, version: int) -> bool:
    """An episode that is linked to the story and doesn't name another version belongs to it."""
    named = {
        (span.attributes.get("goldenpath.model"), span.attributes.get("goldenpath.version"))
        for span in episode.spans
        if "goldenpath.model" in span.attributes
    }
    return not named or any(name == model and (not version or number in {version, None}) for name, number in named)
