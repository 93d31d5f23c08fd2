"""`golden monitor`: reference against now, evidence over time, other settings, and the same as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from goldenpath.monitor.v1 import events_pb2 as events
from goldenpath.monitor.v1 import monitor_service_pb2 as pb

EDUCATION = events.FeatureEffect(
    feature="education",
    effect=2.3,
    lower=1.9,
    upper=2.8,
    tolerance=0.2,
    share=0.9,
    log_evidence=40,
    effects={"ks": 0.5},
)
PROJECT = """\
model: credit
owner: risk
use_case: Says who pays back.
kind: model
risk_tier: high
dataset: {name: census, datasheet: datasheet.md, data: [datasheet.md]}
promise: {metric: log_loss, margin: 0.1}
drift: {feature_tolerances: {age: 0.4}}
"""
AGE = events.FeatureEffect(feature="age", effect=0.01, lower=0, upper=0.1, tolerance=0.2, share=0.1)
REPORT = pb.GetReportResponse(
    model="credit",
    environment="production",
    version=3,
    role="stable",
    rows_seen=12_345,
    features=[EDUCATION, AGE],
    sentence="education drifted over the last 900 records.",
    state="detected",
)


def a_moment(second: int, evidence: float, *found: pb.Found) -> pb.Moment:
    at = Timestamp(seconds=1_780_000_000 + second)
    return pb.Moment(at=at, rows=100, log_evidence=evidence, features=[EDUCATION, AGE], found=found)


HISTORY = pb.GetHistoryResponse(
    distributions=[
        pb.Distribution(
            feature="age", numeric=True, labels=["up to 30", "<b>", "missing"], reference=[5, 5, 0], now=[5, 4, 1]
        ),
        pb.Distribution(
            feature="education", labels=["school", "college", "missing"], reference=[5, 5, 0], now=[9, 0, 0]
        ),
    ],
    moments=[
        a_moment(0, 0.0),
        a_moment(10, 12.0, pb.Found(level="detected", features=["education"], sentence="education drifted & stayed.")),
    ],
    effect="psi",
    false_alarms_per_year=1,
    log_threshold=7,
    reference_rows=10,
    version=3,
)


@pytest.fixture(autouse=True)
def _answers(platform: Any) -> None:
    platform.answers |= {"GetReport": REPORT, "GetHistory": HISTORY}


def test_it_shows_reference_against_now_and_evidence_over_time(platform: Any, golden: Any) -> None:
    shown = golden("monitor", "credit@3").out
    education = next(line for line in shown.splitlines() if line.startswith("✗ education "))
    assert platform.request("GetReport").version == 3
    assert education.split()[:5] == ["✗", "education", "2.300", "▅▅", "█▁"]
    assert education.rstrip().endswith("│     ─●")
    assert "evidence  ▁▅" in shown  # half way up the block is where it is told: 12 of a threshold of 7 is above it
    assert "detected  education drifted & stayed." in shown


def test_why_shows_bounds_and_every_effect(golden: Any) -> None:
    shown = golden("monitor", "credit", "--why").out
    education = [line for line in shown.splitlines() if line.startswith("✗ education ")][-1]
    assert education.split()[2:] == ["1.900", "2.800", "0.2", "40.0", "0.500"]


def test_a_row_fits_eighty_columns_however_long_a_name_is(platform: Any, golden: Any) -> None:
    long = events.FeatureEffect(feature="household_and_family_status_in_detail", effect=0.1, upper=0.3, tolerance=0.2)
    platform.answers["GetReport"] = pb.GetReportResponse(model="credit", version=3, features=[long])
    platform.answers["GetHistory"] = pb.GetHistoryResponse(effect="psi")
    row = next(line for line in golden("monitor", "credit").out.splitlines() if "household" in line)
    assert "household_and_family_s… " in row
    assert len(row.rstrip()) <= 80


def test_other_settings_say_what_they_would_have_found(platform: Any, golden: Any) -> None:
    shown = golden("monitor", "credit", "--effect", "js", "--tolerance", "0.3", "--false-alarms", "12").out
    asked = platform.request("GetHistory").settings
    assert (asked.effect, asked.tolerance, asked.false_alarms_per_year) == ("js", 0.3, 12)
    assert "this would have been found:" in shown


def test_what_golden_yaml_says_now_is_tried_on_what_went_by(platform: Any, golden: Any, tmp_path: Path) -> None:
    (tmp_path / "golden.yaml").write_text(PROJECT)
    (tmp_path / "datasheet.md").write_text("")
    shown = golden("monitor", "credit", "--by", str(tmp_path), "--effect", "js").out
    asked = platform.request("GetHistory")
    assert (asked.settings.effect, dict(asked.settings.feature_tolerances)) == ("js", {"age": 0.4})
    assert asked.settings_alone
    assert "would have been found" in shown


def test_programs_get_the_report_and_the_history(golden: Any) -> None:
    told = json.loads(golden("monitor", "credit", "--json").out)
    assert told["report"]["state"] == "detected"
    assert len(told["history"]["moments"]) == 2


def test_the_page_stands_alone_and_draws_every_feature(golden: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    text = page.read_text()
    pictures = [ET.fromstring(part + "</svg>") for part in _pictures(text)]
    assert len(pictures) == 2 + 1 + 2 * 2 + 1  # overview; evidence; a distribution and a time each, a bar per text
    assert "education drifted &amp; stayed." in text
    assert "<b>: " not in text
    assert 'class="card beyond" id="education"' in text
    assert 'class="card" id="age"' in text


def test_the_page_draws_an_effect_between_its_bounds_with_what_is_tolerated_half_way(
    golden: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    pictures = [ET.fromstring(part + "</svg>") for part in _pictures(page.read_text())]
    title = "2.300, between 1.900 and 2.800; 0.2 is tolerated"
    education = next(each for each in pictures if each.findtext("title") == title)
    band = education.find("rect[@class='band']")
    assert band is not None
    assert float(band.attrib["x"]) == pytest.approx(480 * 1.9 / 2.1, abs=0.1)
    assert float(band.attrib["width"]) == pytest.approx(480 * (2.8 / 3.0 - 1.9 / 2.1), abs=0.1)


def test_what_most_rows_have_is_told_in_words_and_the_others_are_drawn(
    platform: Any, golden: Any, tmp_path: Path
) -> None:
    amounts = pb.Distribution(
        feature="age", numeric=True, labels=["up to 0", "up to 10", "above 10"], reference=[90, 5, 5], now=[80, 20, 0]
    )
    platform.answers["GetHistory"] = pb.GetHistoryResponse(distributions=[amounts], reference_rows=100)
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    assert "0: 80.0% now, 90.0% in the reference" in page.read_text()
    pictures = [ET.fromstring(part + "</svg>") for part in _pictures(page.read_text())]
    assert [each.text for each in pictures[-1].iter("title")] == [
        "up to 10: 20.0% now, 5.0% in the reference",
        "above 10: 0.0% now, 5.0% in the reference",
    ]


def test_the_page_stands_alone(golden: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    text = page.read_text()
    assert not any(word in text for word in ("<script", "http://", "https://", "@import", "url("))


def test_a_version_without_a_reference_has_a_page_too(platform: Any, golden: Any, tmp_path: Path) -> None:
    platform.answers["GetReport"] = pb.GetReportResponse(model="credit", version=3, sentence="nothing is judged.")
    platform.answers["GetHistory"] = pb.GetHistoryResponse(version=3)
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    assert "<svg" not in page.read_text()
    assert golden("monitor", "credit").status == 0


HOSTILE = '"><script>alert(1)</script><!--\x1b[2J\u202e&#x27;'


def hostile(value: Any) -> None:
    """Put markup and escape codes into every text that somebody else gave."""
    for field, held in value.ListFields():
        each: Any = held
        if field.message_type and field.message_type.GetOptions().map_entry:
            each[HOSTILE] = 0.1
        elif field.message_type:
            for one in each if field.is_repeated else [each]:
                hostile(one)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            each[:] = [HOSTILE] * len(each)
        elif field.type == field.TYPE_STRING:
            setattr(value, field.name, HOSTILE)


@pytest.fixture
def attacked(platform: Any) -> None:
    """A monitor of which every text is hostile."""
    report, history = pb.GetReportResponse(), pb.GetHistoryResponse()
    report.CopyFrom(REPORT)
    history.CopyFrom(HISTORY)
    report.relations.add(first="a", first_side="b", second="c", second_side="d", log_evidence=99, now=0.5)
    kept = events.Performance(metric="m", limit=1, known=5, metrics={"auc": 0.5}, rows=5, loss=2, lower=1.5, upper=3)
    kept.segments.add(feature="f", value="v", rows=5, loss=2, share=1, metrics={"auc": 0.5})
    report.performance.CopyFrom(kept)
    report.estimated.CopyFrom(events.EstimatedPerformance(metric="m", rows=5, metrics={"auc": 0.5}))
    hostile(report)
    hostile(history)
    platform.answers |= {"GetReport": report, "GetHistory": history}


@pytest.mark.usefixtures("attacked")
def test_hostile_names_are_text_on_the_page_and_nothing_else(golden: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    read = _Tags()
    read.feed(page.read_text())
    known = {"html", "meta", "title", "style", "h1", "h2", "small", "span", "p", "b", "br", "div", "section", "a", "ul"}
    known |= {"li", "time", "table", "tr", "td", "th", "svg", "line", "rect", "polygon", "polyline"}
    assert {tag for tag, _ in read.found} <= known
    assert {name for _, names in read.found for name in names if name.startswith("on")} == set()
    assert read.comments == 0
    assert "<script>alert(1)</script>" in read.text  # as a text


@pytest.mark.usefixtures("attacked")
@pytest.mark.parametrize("more", [[], ["--why"]], ids=["plain", "why"])
def test_hostile_names_never_steer_the_terminal(golden: Any, more: list[str]) -> None:
    shown = golden("monitor", "credit", *more).out
    assert "alert(1)" in shown
    assert not set(shown) & {"\x1b", "\u202e"}


def test_bounds_without_end_have_their_place(platform: Any, golden: Any, tmp_path: Path) -> None:
    endless = events.FeatureEffect(feature="age", effect=float("nan"), upper=float("inf"), tolerance=0.2)
    platform.answers["GetReport"] = pb.GetReportResponse(model="credit", version=3, features=[endless])
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    assert {"nan", "inf"}.isdisjoint(_numbers_drawn(page.read_text()))
    assert golden("monitor", "credit").status == 0


class _Tags(HTMLParser):
    """What a browser makes of a page: elements with their attributes, its words, and how many comments."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []
        self.comments, self.text = 0, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data: str) -> None:
        self.comments += bool(data)

    def handle_data(self, data: str) -> None:
        self.text += data


def _numbers_drawn(page: str) -> set[str]:
    """The attributes of all pictures, cut at what separates numbers."""
    elements = [each for part in _pictures(page) for each in ET.fromstring(part + "</svg>").iter()]
    return {word for each in elements for value in each.attrib.values() for word in re.split("[ ,]", value)}


def _pictures(text: str) -> list[str]:
    return ["<svg" + part.partition("</svg>")[0] for part in text.split("<svg")[1:]]


TOGETHER = events.RelationEffect(
    first="age", first_side="above 38", second="city", second_side="<Rome>", reference=0.8, now=0.5, log_evidence=20
)


def test_what_goes_together_otherwise_is_named_once_it_is_sure(platform: Any, golden: Any, tmp_path: Path) -> None:
    sure = pb.GetReportResponse(model="credit", version=3, features=[AGE], relations=[TOGETHER], log_threshold=7)
    platform.answers["GetReport"] = sure
    row = next(line for line in golden("monitor", "credit").out.splitlines() if "above 38" in line)
    assert row.split() == ["age", "(above", "38)", "city", "(<Rome>)", "80.0%", "50.0%", "20.0"]
    page = tmp_path / "page.html"
    golden("monitor", "credit", "--page", str(page))
    assert "age (above 38) and city (&lt;Rome&gt;): 50.0% now, 80.0% in the reference" in page.read_text()


def test_what_may_go_together_as_ever_is_shown_to_who_asks_why(platform: Any, golden: Any) -> None:
    unsure = pb.GetReportResponse(model="credit", version=3, features=[AGE], relations=[TOGETHER], log_threshold=21)
    platform.answers["GetReport"] = unsure
    assert "above 38" not in golden("monitor", "credit").out
    assert "above 38" in golden("monitor", "credit", "--why").out
