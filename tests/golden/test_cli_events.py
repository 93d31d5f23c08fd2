"""`golden events validate`: what is fit to publish, and what is wrong with what isn't."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "billing",
    "type": "outcome.recorded",
    "subject": "model/credit",
    "time": "2026-11-23T14:05:00Z",
    "datacontenttype": "application/json",
    "data": {"model": "credit", "recordId": "r-1", "label": "1", "occurredAt": "2026-11-23T14:00:00Z"},
}


def test_a_good_event_is_told_its_topic(golden: Any, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(EVENT))
    ended = golden("events", "validate", str(file))
    assert ended.out == "✓ outcome.recorded is well-formed; publish it on inference.outcomes\n", ended.err
    assert golden("events", "validate", str(file), "--json").json["valid"] is True


def test_standard_input_is_a_hyphen(golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(EVENT)))
    assert golden("events", "validate", "-").status == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"type": "outcome.misspelt"}, "there is no event type 'outcome.misspelt'", id="unknown type"),
        pytest.param({"source": ""}, "ce_source: the event lacks this attribute", id="no source"),
        pytest.param({"time": "noon"}, "'noon' is no RFC 3339 time", id="no time"),
        pytest.param({"data": {"modle": "credit"}}, "modle", id="unknown field"),
        pytest.param({"data": {"value": "much"}}, "value", id="wrong type"),
        pytest.param({"data": [1]}, "✗", id="no object"),
    ],
)
def test_a_bad_event_is_told_what_is_wrong(golden: Any, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(EVENT | change))
    ended = golden("events", "validate", str(file))
    assert (ended.status, ended.out) == (1, "")
    assert said in ended.err


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_file_that_holds_no_event_is_refused(golden: Any, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(content)
    ended = golden("events", "validate", str(file))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("✗ ")


def test_a_file_that_is_not_there_is_named(golden: Any) -> None:
    assert golden("events", "validate", "nowhere.json").err.startswith("✗ nowhere.json: ")


def test_following_events_needs_kafka(platform: Any, golden: Any) -> None:
    del platform
    ended = golden("events", "tail")
    assert (ended.status, ended.err) == (1, "✗ nobody said where Kafka is\n  to do: set GOLDEN_KAFKA\n")
