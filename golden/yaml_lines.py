"""YAML that a person wrote: its values, the line of each, and what is wrong with it in words that help.

YAML's own parser forgets where a value stood, so the text is read as a tree of nodes first: that gives each path,
such as dataset.data.0, its line. A problem found in the values later is told at that line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from services.chassis.errors import Invalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

At = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        at: The path of it, from the file's root; the root itself is the empty path.
        what: What is wrong, in a sentence.
        fix: What to do; empty where the sentence says it.
    """

    at: At
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says: its values, and the line of each path, from 1."""

    file: Path
    values: Mapping[str, Any]
    lines: Mapping[At, int]

    def line(self, at: At) -> int:
        """The line of a path; of the nearest part around it where the file doesn't have it."""
        while at not in self.lines and at:
            at = at[:-1]
        return self.lines.get(at, 1)


def text_of(file: Path) -> str:
    """A file's text; Invalid where it isn't UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("the file isn't text in UTF-8", where=str(file)) from error


def parse(text: str, file: Path, *, start: str) -> Said:
    """Read keys and values.

    Args:
        text: The YAML. Where it is a part of a file, empty lines stand for what comes before it.
        file: The file that it is from.
        start: What a file of this kind starts with, for whoever has nothing yet.

    Raises:
        Invalid: it is no YAML, no mapping, or has a key twice.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid(f"this isn't YAML: {error.problem}", where=f"{file}:{line}") from None
    except yaml.YAMLError as error:
        raise Invalid(f"this isn't YAML: {error}", where=str(file)) from None
    if not isinstance(root, yaml.MappingNode):
        raise Invalid("expected keys and values", where=f"{file}:1", fix=f"start with  {start}")
    twice: list[Problem] = []
    said = Said(file, values, dict(_lines(root, (), twice)))
    if twice:
        raise refusal(said, twice)
    return said


def refusal(said: Said, found: Iterable[Problem]) -> Invalid:
    """The error that tells all problems: one as itself, several as a list by line."""
    ordered = sorted(found, key=lambda problem: said.line(problem.at))
    if len(ordered) == 1:
        only = ordered[0]
        return Invalid(only.what, where=f"{said.file}:{said.line(only.at)}", fix=only.fix)
    lines = [str(Invalid(each.what, where=f"{said.file}:{said.line(each.at)}", fix=each.fix)) for each in ordered]
    return Invalid("\n".join([f"{len(lines)} things are wrong:", *lines]), where=str(said.file))


def problems(said: Said, error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """What a validation found, in words."""
    for found in error.errors(include_url=False):
        at: At = found["loc"]
        name = ".".join(map(str, at))
        match found["type"]:
            case "missing":
                yield Problem(at, f"{name} is missing", f"add  {at[-1]}: ...")
            case "extra_forbidden":
                known = _keys_at(model, at[:-1])
                yield Problem(at, f"there is no key {name}", _nearest(str(at[-1]), known))
            case "default_factory_not_called":  # it depends on a key that is wrong, which is told already
                continue
            case _:
                yield Problem(at, f"{name}: {_in_words(found, model)}{_not_this(said.values, at)}")


def _lines(node: yaml.Node, at: At, twice: list[Problem]) -> Iterator[tuple[At, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _lines(item, (*at, place), twice)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*at, str(key.value))
            if key.value in seen:
                twice.append(Problem(here, f"the key {'.'.join(map(str, here))} stands there twice", "keep one"))
            seen.add(key.value)
            yield from _lines(value, here, twice)
            yield here, key.start_mark.line + 1


def _keys_at(model: type[BaseModel], at: At) -> list[str]:
    for part in at:
        inner = model.model_fields[str(part)].annotation
        model = next(
            kind for kind in (inner, *get_args(inner)) if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
    return list(model.model_fields)


def _nearest(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(known)}"


def _in_words(found: ErrorDetails, model: type[BaseModel]) -> str:
    match found["type"]:
        case "model_type":
            return f"it should be keys and values; the keys are {', '.join(_keys_at(model, found['loc']))}"
        case "tuple_type":
            return "it should be a list, such as [one, other]"
        case "string_too_short":
            return "it should say something"
    return found["msg"].removeprefix("Value error, ").replace("Input should", "it should")


def _not_this(values: Any, at: At) -> str:
    try:
        for part in at:
            values = values[part]
    except (KeyError, IndexError, TypeError):  # the problem is the key itself, as when YAML reads yes: as true
        return ""
    return f", not {values!r:.60}"
