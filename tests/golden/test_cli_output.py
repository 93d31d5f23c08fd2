"""What a person names and reads: references, moments, and text that was written by somebody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from golden import output
from golden.references import Reference, model_of, moment, reference
from services.chassis.errors import Invalid

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(("text", "found"), [("credit", Reference("credit")), ("a-1@12", Reference("a-1", 12))])
def test_a_reference_reads_and_writes_the_same(text: str, found: Reference) -> None:
    assert reference(text) == found
    assert str(found) == text


@pytest.mark.parametrize("text", ["Credit", "credit@0", "credit@01", "credit@1234567890", "1a", "a" * 64, "a\n"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        reference(text)


def test_a_version_is_no_model() -> None:
    assert model_of("credit") == "credit"
    with pytest.raises(Invalid, match="write credit"):
        model_of("credit@2")


@pytest.mark.parametrize("text", ["2026-11-23T12:00:00+00:00", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00+01:00"])
def test_a_moment_with_a_zone_is_that_moment(text: str) -> None:
    assert moment(text) == NOON


def test_a_moment_without_a_zone_is_local_time_and_now_is_now() -> None:
    assert moment(NOON.astimezone().replace(tzinfo=None).isoformat()) == NOON
    assert abs(moment("now") - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "noon", "0001-01-01T00:00:00+23:00", "2026-02-30"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no moment"):
        moment(text)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d"), (-5, "0 s")]
)
def test_how_long_ago_is_said_in_the_largest_unit(seconds: int, said: str) -> None:
    stamp = Timestamp()
    stamp.FromDatetime(NOON)
    assert output.ago(stamp, NOON + timedelta(seconds=seconds)) == said
    assert output.ago(Timestamp(), NOON) == "-"


def test_a_table_shows_brackets_as_brackets_and_only_a_text_in_colour(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("what", "how", rows=[("[red]x[/red] [/nope]", Text("fine", "green")), (1, None)])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == ["[red]x[/red] [/nope]  fine", "1                     None"]


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\r", "\x7f", "\u202e", "\u2066"])
def test_what_others_wrote_never_steers_the_terminal(capsys: pytest.CaptureFixture[str], control: str) -> None:
    output.table("name", rows=[(f"a{control}b", Text(f"c{control}d", "green"))])
    output.console.print(output.escape(f"[red]e{control}f"))
    output.show_error(Invalid(f"g{control}h", fix=f"i{control}j"))
    shown = "".join(capsys.readouterr())
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\r", "\x7f", "\u202e", "\u2066"}
    assert all(letter in shown for letter in "abcdefghij")
