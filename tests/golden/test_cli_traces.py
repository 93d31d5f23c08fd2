"""`golden trace`: files of spans become one story, in the terminal, as a page, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from golden.traces import Episode, episodes_of, read_spans, story_of

SECOND = 1_000_000_000


def row(trace: str, span: str, *, parent: str = "", name: str = "work", start: int = 0, **more: Any) -> dict[str, Any]:
    """A line of a span file; the span takes a second."""
    links = [{"trace_id": linked, "span_id": "0"} for linked in more.pop("links", ())]
    said = {"kind": "internal", "service": "registry", "pid": 1, "status": "unset", "attributes": {}} | more
    ends = (start + 1) * SECOND
    own = {"trace_id": trace, "span_id": span, "parent_id": parent, "name": name}
    return own | said | {"start_ns": start * SECOND, "end_ns": ends, "links": links}


def about(model: str, version: int) -> dict[str, Any]:
    return {"goldenpath.model": model, "goldenpath.version": version}


STORY = [
    row("t1", "a", name="register", attributes=about("credit", 2)),
    row("t1", "b", parent="a", name="judge [all]", service="governance", pid=2, status="error"),
    row("t2", "c", name="rollout", start=2, service="deployer", links=["t1"]),
    row("t3", "d", name="signal", start=4, service="monitor", links=["t2"], attributes=about("credit", 2)),
    row("t4", "e", name="next", start=6, links=["t2"], attributes=about("credit", 3)),
    row("t5", "f", name="other", start=8, attributes=about("fraud", 1)),
    row("t6", "g", name="consume registry.events", start=9, attributes=about("credit", 2)),
]


@pytest.fixture
def folder(tmp_path: Path, platform: Any) -> Path:
    """The platform's span files: two processes', and in one of them a line that is still being written."""
    del platform
    made = tmp_path / "traces"
    made.mkdir()
    lines = [json.dumps(one) + "\n" for one in STORY]
    (made / "registry-1.jsonl").write_text("".join(lines[:2]))
    (made / "other-2.jsonl").write_bytes("".join(lines[2:]).encode() + b'{"trace_id": "t7", "nam\xc3')
    return made


def ids(story: Sequence[Episode]) -> list[str]:
    return [episode.trace_id for episode in story]


def test_a_story_takes_in_what_is_linked_and_leaves_out_other_versions(folder: Path) -> None:
    episodes = episodes_of(read_spans(folder))
    assert ids(story_of(episodes, "credit", 2)) == ["t1", "t2", "t3", "t6"]
    assert ids(story_of(episodes, "credit", 3)) == ["t2", "t4"]
    assert ids(story_of(episodes, "credit", 0)) == ["t1", "t2", "t3", "t4", "t6"]
    assert ids(story_of(episodes, "fraud", 1)) == ["t5"]


def test_a_line_that_is_no_span_is_passed_over(folder: Path) -> None:
    (folder / "torn.jsonl").write_text('17\n{"links": []}\nnull\n{"links": [1]}\n[]\n')
    assert len(list(read_spans(folder))) == len(STORY)


def test_the_terminal_shows_each_episode_and_what_failed(folder: Path, golden: Any) -> None:
    del folder
    lines = golden("trace", "credit@2").out.splitlines()
    assert next(line for line in lines if "spans in" in line).endswith("2 spans in 2 processes  t1")
    assert any("judge [all]" in line and line.endswith("1000.0 ms failed") for line in lines)
    assert not any("consume" in line for line in lines)


def test_all_shows_the_plumbing_too(folder: Path, golden: Any) -> None:
    del folder
    assert "consume registry.events" in golden("trace", "credit@2", "--all").out


def test_a_long_episode_is_cut_unless_all_of_it_is_wanted(folder: Path, golden: Any) -> None:
    many = [json.dumps(row("t1", f"m{place}", parent="a", name=f"step {place}")) + "\n" for place in range(50)]
    (folder / "many.jsonl").write_text("".join(many))
    assert "… 12 more: --all" in golden("trace", "credit@2").out
    assert "step 49" in golden("trace", "credit@2", "--all").out


def test_a_program_gets_the_spans_of_each_episode(folder: Path, golden: Any) -> None:
    del folder
    first = golden("trace", "credit@2", "--json").json[0]
    assert (first["trace_id"], first["processes"]) == ("t1", ["governance/2", "registry/1"])
    assert first["missing_parents"] == []
    assert [span["name"] for span in first["spans"]] == ["register", "judge [all]"]


def test_the_page_stands_alone_and_takes_nothing_for_markup(folder: Path, golden: Any, tmp_path: Path) -> None:
    hostile = row("t1", "x", parent="a", name="<script>alert(1)</script>", attributes={"a": '"><img src=x>'})
    (folder / "hostile.jsonl").write_text(json.dumps(hostile) + "\n")
    page = tmp_path / "story.html"
    ended = golden("trace", "credit@2", "--html", str(page))
    assert (ended.status, ended.out) == (0, f"Wrote {page}\n")
    html = page.read_text()
    assert html.startswith("<!doctype html>")
    assert "The story of credit@2" in html
    assert not re.search(r"<(script|link|img|iframe)|(src|href)=[^x]|@import|url\(|https?:", html)
    assert html.count('class="row') == 5


def test_a_page_that_can_not_be_written_is_said_in_words(folder: Path, golden: Any, tmp_path: Path) -> None:
    del folder
    ended = golden("trace", "credit@2", "--html", str(tmp_path / "nowhere" / "story.html"))
    assert (ended.status, ended.out) == (1, "")
    assert "No such file or directory" in ended.err


def test_a_version_that_no_trace_names_is_not_found(folder: Path, golden: Any) -> None:
    del folder
    ended = golden("trace", "credit@9")
    assert (ended.status, ended.err.splitlines()[0]) == (1, "✗ no trace names credit@9")


def test_a_platform_that_keeps_its_traces_elsewhere_says_so(
    folder: Path, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del folder
    monkeypatch.delenv("GOLDEN_TRACES")
    assert "keeps its traces elsewhere" in golden("trace", "credit@2").err
