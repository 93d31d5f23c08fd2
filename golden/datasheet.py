"""The datasheet: a markdown file in which whoever knows the data answers the same questions for every dataset.

It has a head of plain facts between two lines of dashes, and then a heading for each question. What stands below a
heading is the answer; a quoted line (>) or an HTML comment explains the question, and is no answer, and neither is
"TODO". So a datasheet can be copied from another with its questions and be honest about what is open:

    ---
    title: Census-Income (KDD)
    licence: CC-BY-4.0
    personal_data: pseudonymous
    ---
    ## Collection process
    > How was the data acquired?

    (an answer)

Every question knows its line, so whoever refuses a dataset can say where the answer is to be written. What travels is
not the markdown but Croissant JSON-LD (see `croissant`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from golden import croissant, yaml_lines
from goldenpath.registry.v1.events_pb2 import Question
from services.chassis.errors import Invalid, NotFound

QUESTIONS: Final = tuple(name.removeprefix("QUESTION_").lower() for name in Question.keys()[1:])
"""What every datasheet answers, as the contract's keys: the heading `Collection process` is collection_process."""

_SPELLINGS: Final = {"license": "licence"}
_PLACEHOLDERS: Final = frozenset({"", "?", "-", "...", "…", "tbd", "to do", "todo", "unknown yet"})
_FENCE: Final = "---"
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING: Final = re.compile(r"##\s+(.+?)\s*#*\s*")


class Facts(BaseModel):
    """The head of a datasheet. All of it may be missing; governance asks for what it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    title: str = ""
    """What the dataset is called in print."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Where it came from."""

    creators: tuple[str, ...] = ()
    """Who made it."""

    published: date | None = None
    """When it was published."""

    cite: str = ""
    """How it wants to be cited."""

    licence: str = ""
    """The licence's SPDX identifier, such as CC-BY-4.0."""

    personal_data: Literal["none", "pseudonymous", "personal", "special", ""] = ""
    """What class of personal data it holds."""

    period_start: date | None = None
    """The first day that its records speak of."""

    period_end: date | None = None
    """The last day that its records speak of."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands below a heading.

    Args:
        text: The answer; empty where there is none yet.
        line: The line of its beginning, from 1; where there is none, the line that waits for it.
    """

    text: str
    line: int


@dataclass(frozen=True)
class Datasheet:
    """A datasheet as it was read.

    Args:
        facts: Its head.
        questions: Every question that it has a heading for, and each of QUESTIONS, with its answer.
    """

    facts: Facts
    questions: Mapping[str, Answer]

    @cached_property
    def answered(self) -> dict[str, str]:
        """The answers by question, those that there are."""
        return {key: answer.text for key, answer in self.questions.items() if answer.text}

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The questions that must be answered and aren't, in their order."""
        return tuple(key for key in QUESTIONS if key not in self.answered)

    @property
    def lines(self) -> dict[str, int]:
        """Where each question's answer stands, or belongs."""
        return {key: answer.line for key, answer in self.questions.items()}

    @property
    def licence(self) -> str:
        """The licence's SPDX identifier; empty where it isn't named."""
        return self.facts.licence

    @property
    def personal_data(self) -> str:
        """The class of personal data: none, pseudonymous, personal or special; empty where it isn't named."""
        return self.facts.personal_data

    def to_croissant(self, *, name: str, digest: str) -> str:
        """The datasheet as it travels: Croissant JSON-LD, the same text for the same answers and the same data.

        Args:
            name: The dataset's name.
            digest: SHA-256 over its data, 64 hex digits.
        """
        return croissant.render(self.facts, self.answered, name=name, digest=digest)


def read(path: Path) -> Datasheet:
    """Read a datasheet.

    Raises:
        NotFound: there is no such file.
        Invalid: its head is wrong, or a question stands in it twice; file and line are named.
    """
    if not path.is_file():
        raise NotFound("there is no datasheet here", where=str(path), fix="write one, or copy an example's")
    return parse(yaml_lines.text_of(path), path)


def parse(text: str, path: Path) -> Datasheet:
    """Read a datasheet's text; `path` is named in errors."""
    lines = text.splitlines()
    head = _head_lines(lines, path)
    found: dict[str, Answer] = {}
    for key, answer, heading in _sections(_without_comments(lines), start=head):
        if key in found:
            raise Invalid(f"the question {key} stands there twice", where=f"{path}:{heading}", fix="keep one")
        found[key] = answer
    end = Answer("", len(lines) + 1)
    return Datasheet(_facts(lines[:head], path), {**dict.fromkeys(QUESTIONS, end), **found})


def _head_lines(lines: list[str], path: Path) -> int:
    """How many lines the head takes, its dashes included."""
    if not lines or lines[0].rstrip() != _FENCE:
        return 0
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == _FENCE:
            return number
    raise Invalid("the head has no end", where=f"{path}:1", fix="close it with a line of three dashes")


def _facts(head: list[str], path: Path) -> Facts:
    text = "\n".join(["", *head[1:-1]])  # an empty line for the dashes, so that line numbers are the file's
    if not text.strip():
        return Facts()
    said = yaml_lines.parse(text, path, start="title: ...")
    try:
        return Facts.model_validate(said.values)
    except ValidationError as error:
        raise yaml_lines.refusal(said, yaml_lines.problems(said, error, Facts)) from None


def _without_comments(lines: list[str]) -> list[str]:
    """The same lines with HTML comments blanked out, a comment of several lines included."""
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), "\n".join(lines)).split("\n")


def _sections(lines: list[str], *, start: int) -> Iterator[tuple[str, Answer, int]]:
    """Each heading's key, its answer, and the heading's own line; code in fences holds no headings."""
    headings: list[tuple[str, int]] = []
    in_code = False
    for number, line in enumerate(lines[start:], start=start + 1):
        in_code ^= line.startswith("```")
        heading = None if in_code else _HEADING.fullmatch(line)
        if heading:
            headings.append((_key(heading[1]), number))
    for (key, number), (_, following) in pairwise([*headings, ("", len(lines) + 1)]):
        yield key, _answer(lines, number, following - 1), number


def _key(heading: str) -> str:
    key = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
    return _SPELLINGS.get(key, key)


def _answer(lines: list[str], heading: int, end: int) -> Answer:
    """The answer between a heading's line and the end of its section."""
    below = list(enumerate(lines[heading:end], start=heading + 1))
    said = [(number, line) for number, line in below if not line.startswith(">")]
    text = "\n".join(line.rstrip() for _, line in said).strip()
    begins = next((number for number, line in said if line.strip()), None)
    if text.casefold() in _PLACEHOLDERS or text.casefold().rstrip(".") in _PLACEHOLDERS:
        last_free = max((number for number, _ in said), default=heading + 1)
        return Answer("", begins or last_free)
    return Answer(text, begins or heading)
