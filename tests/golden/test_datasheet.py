from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from golden import datasheet
from services.chassis.errors import Invalid, NotFound

EXAMPLE = Path(__file__).parents[2] / "examples/credit/data"
DIGEST = "a" * 64

SHEET = """\
---
title: Coins
licence: CC0-1.0
personal_data: none
---
# Datasheet: coins

## Purpose
> For what purpose was it made?

To learn how coins fall.

Twice.
## Known gaps
> Who is missing?

TODO
## Maintenance
> Who looks after it?
<!-- ask the
mint -->

## License

CC0
"""


def parsed(text: str = SHEET) -> datasheet.Datasheet:
    return datasheet.parse(text, Path("datasheet.md"))


def test_an_answer_is_what_stands_below_its_question() -> None:
    assert parsed().answered == {"purpose": "To learn how coins fall.\n\nTwice.", "licence": "CC0"}


def test_every_open_question_knows_the_line_that_waits_for_it() -> None:
    sheet = parsed()

    waiting = {key: sheet.lines[key] for key in ("known_gaps", "maintenance")}
    assert waiting == {"known_gaps": 17, "maintenance": 22}
    assert sheet.lines["purpose"] == 11


def test_a_question_without_a_heading_waits_at_the_end() -> None:
    sheet = parsed()

    assert sheet.unanswered == (
        "composition",
        "collection_process",
        "preprocessing",
        "known_gaps",
        "personal_data",
        "maintenance",
    )
    assert sheet.lines["composition"] == len(SHEET.splitlines()) + 1


def test_a_heading_in_code_is_part_of_the_answer() -> None:
    assert parsed("## Purpose\n```\n## Composition\n```\n").answered == {"purpose": "```\n## Composition\n```"}


def test_the_examples_draft_lacks_exactly_two_answers_and_its_completed_sheet_none() -> None:
    draft, completed = (datasheet.read(EXAMPLE / name) for name in ("datasheet.md", "datasheet.completed.md"))

    assert (draft.unanswered, completed.unanswered) == (("collection_process", "known_gaps"), ())
    lines = (EXAMPLE / "datasheet.md").read_text().splitlines()
    assert [lines[draft.lines[key] - 1] for key in draft.unanswered] == ["", ""]
    assert {key: completed.answered[key] for key in draft.answered} == draft.answered


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        pytest.param("---\ntitle: a\n", ":1", "the head has no end", id="an open head"),
        pytest.param("---\ntitel: a\n---\n", ":2", "there is no key titel", id="a misspelt fact"),
        pytest.param("---\n\npersonal_data: some\n---\n", ":3", "personal_data: it should be", id="an unknown class"),
        pytest.param("## Purpose\na\n## Purpose\nb\n", ":3", "the question purpose stands there twice", id="twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, where: str, what: str) -> None:
    with pytest.raises(Invalid) as error:
        parsed(text)

    assert error.value.where == f"datasheet.md{where}"
    assert error.value.what.startswith(what)


def test_no_datasheet_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no datasheet here"):
        datasheet.read(tmp_path / "datasheet.md")


def test_an_empty_datasheet_answers_nothing() -> None:
    assert parsed("").unanswered == datasheet.QUESTIONS


@pytest.mark.parametrize("name", ["datasheet.md", "datasheet.completed.md"])
def test_what_travels_is_valid_croissant(name: str) -> None:
    document = datasheet.read(EXAMPLE / name).to_croissant(name="census-1994", digest=DIGEST)

    metadata = validated(json.loads(document))

    assert metadata.ctx.issues.errors == set()
    assert metadata.ctx.issues.warnings == set()
    assert (metadata.name, metadata.license, metadata.distribution[0].sha256) == ("census-1994", ["CC-BY-4.0"], DIGEST)


def test_the_least_datasheet_is_croissant_too() -> None:
    assert validated(json.loads(parsed("").to_croissant(name="coins", digest=DIGEST))).ctx.issues.errors == set()


def test_an_open_question_is_absent_from_what_travels() -> None:
    draft, completed = (
        json.loads(datasheet.read(EXAMPLE / name).to_croissant(name="census-1994", digest=DIGEST))
        for name in ("datasheet.md", "datasheet.completed.md")
    )

    assert completed.keys() - draft.keys() == {"rai:dataCollection", "rai:dataLimitations"}


def test_the_same_answers_travel_as_the_same_text() -> None:
    first, second = (parsed().to_croissant(name="coins", digest=DIGEST) for _ in range(2))

    assert first == second
    assert first != parsed(SHEET.replace("Twice", "Thrice")).to_croissant(name="coins", digest=DIGEST)


def validated(document: dict[str, Any]) -> Any:
    """What mlcroissant, the format's own library, makes of it; it refuses what isn't Croissant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' deprecations
        import mlcroissant

        return mlcroissant.Dataset(jsonld=document).metadata
