"""A dataset and its datasheet: fixed bytes, and answers about them that get better.

Other bytes under the same name are a new version. Other answers about the same bytes are a new revision of the
datasheet; governance judges again whatever was made from them. A registration that only refers to a dataset (name and
digest, without a datasheet) changes nothing that is known about it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from services.chassis.errors import Invalid
from services.registry.domain import names
from services.registry.domain.models import Actor

PERSONAL_DATA: Final = ("none", "pseudonymous", "personal", "special")
_PLACEHOLDERS: Final = frozenset({"", "?", "-", "...", "…", "tbd", "to do", "todo", "unknown yet"})
_LONGEST_DATASHEET: Final = 1024 * 1024  # characters; Croissant files of hundreds of columns stay far below


@dataclass(frozen=True, slots=True)
class Datasheet:
    """What is said about a dataset. Empty means not said."""

    document: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    licence: str = ""
    personal_data: str = ""
    period_start: datetime | None = None
    period_end: datetime | None = None

    def unanswered(self, questions: Sequence[str]) -> tuple[str, ...]:
        """Those of these questions that have no answer yet, in their order; a placeholder is no answer."""
        said = {"licence": self.licence, "personal_data": self.personal_data, **self.answers}
        return tuple(key for key in questions if said.get(key, "").strip().casefold() in _PLACEHOLDERS)


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that somebody registers or refers to."""

    name: str
    digest: str
    sheet: Datasheet = Datasheet()


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """Exact bytes of data that a version was made from."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's version with its newest datasheet; `revision` counts the datasheets from 1."""

    name: str
    version: int
    digest: str
    revision: int
    sheet: Datasheet
    registered_by: Actor

    @property
    def ref(self) -> DatasetRef:
        """Which bytes these are."""
        return DatasetRef(self.name, self.version, self.digest)


def checked(given: DatasetInput, *, where: str = "dataset") -> DatasetInput:
    """The input in its kept form: answers trimmed, empty ones left out.

    Raises:
        Invalid: a name, digest, class of personal data, datasheet or period is malformed; `where` is the field's path.
    """
    names.dataset_name(given.name, where=f"{where}.name")
    names.digest(given.digest, where=f"{where}.digest")
    sheet = given.sheet
    if sheet.personal_data not in ("", *PERSONAL_DATA):
        raise Invalid(
            f"{sheet.personal_data[:80]!r} is no class of personal data: {', '.join(PERSONAL_DATA)}",
            where=f"{where}.personal_data",
        )
    if sheet.period_start and sheet.period_end and sheet.period_end < sheet.period_start:
        raise Invalid("the period ends before it starts", where=f"{where}.period_end")
    _check_document(sheet.document, where=f"{where}.datasheet_json")
    return replace(given, sheet=_trimmed(sheet, where))


def _check_document(document: str, *, where: str) -> None:
    if not document:
        return
    if len(document) > _LONGEST_DATASHEET:
        raise Invalid(f"the datasheet is longer than {_LONGEST_DATASHEET:,} characters", where=where)
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the datasheet isn't JSON: {error}", where=where) from None
    if not isinstance(parsed, dict):
        raise Invalid("the datasheet isn't a JSON object", where=where, fix="write Croissant JSON-LD")
    if "\\u0000" in document:
        raise Invalid("the datasheet has a NUL in it", where=where)


def _trimmed(sheet: Datasheet, where: str) -> Datasheet:
    answers = {key: names.text(answer, where=f"{where}.answers[{key}]") for key, answer in sheet.answers.items()}
    for key in answers:
        names.text(key, where=f"{where}.answers")
    return replace(
        sheet,
        answers={key: answers[key] for key in sorted(answers) if answers[key]},
        owner=names.text(sheet.owner, where=f"{where}.owner"),
        licence=names.text(sheet.licence, where=f"{where}.licence"),
    )


def revised(dataset: Dataset, given: DatasetInput, actor: Actor) -> Dataset:
    """The dataset after somebody documented it: the same one, or its next revision.

    An input without document and answers only refers to the dataset. Otherwise its answers replace the known ones, and
    an owner, licence, class or period that it doesn't name stays.
    """
    if not given.sheet.document and not given.sheet.answers:
        return dataset
    sheet = _merged(dataset.sheet, given.sheet)
    if sheet == dataset.sheet:
        return dataset
    return replace(dataset, sheet=sheet, revision=dataset.revision + 1, registered_by=actor)


def _merged(known: Datasheet, said: Datasheet) -> Datasheet:
    return Datasheet(
        document=said.document or known.document,
        answers=said.answers or known.answers,
        owner=said.owner or known.owner,
        licence=said.licence or known.licence,
        personal_data=said.personal_data or known.personal_data,
        period_start=said.period_start or known.period_start,
        period_end=said.period_end or known.period_end,
    )
