"""What the code records, read out of its source: names of spans, attributes of spans and of log lines, and metrics.

A name may have holes: `f"process {event.type}"` is read as `process {}`, and `process TYPE` in the registry fits it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.architecture.tree import calls, modules, parsed, place

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_HOLE = "{}"

Found = dict[str, str]  # what was found, and where


@cache
def files(modelserver: bool) -> list[Path]:  # noqa: FBT001 - read as files(modelserver=True)
    """The modules of the model server, or all the others' that record something."""
    every = modules("services", "golden")
    return [path for path in every if ("modelserver" in path.parts) is modelserver and path.name != "instruments.py"]


def spans(paths: Iterable[Path]) -> Found:
    """Every span's name."""
    found: Found = {}
    for path in paths:
        for name, node in calls(path):
            if name.endswith("telemetry.span"):
                found |= {text: place(path, node.lineno) for text in _texts(path, node.args[0])}
    return found


def span_attributes(paths: Iterable[Path]) -> Found:
    """Every attribute that a span is given."""
    return {key: place(path, line) for path in paths for key, line in _span_attributes(path)}


def log_attributes(paths: Iterable[Path]) -> Found:
    """Every attribute that a log line is given, but for the exception."""
    found: Found = {}
    for path in paths:
        for name, node in calls(path):
            if name.rpartition(".")[2] in LEVELS and "log" in name.rpartition(".")[0].lower():
                found |= {key: place(path, node.lineno) for key in _keywords(path, node) if key != "exc_info"}
        for key, line in _assigned_keys(path):
            found[key] = place(path, line)
    return found


def fits(name: str, registered: str) -> bool:
    """True where a name with holes is what the registry has: its words in capitals fill the holes."""
    pattern = re.escape(name).replace(re.escape(_HOLE), r"[A-Z]+")
    return re.fullmatch(pattern, registered) is not None


def _texts(path: Path, node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr(values=parts):
            return {"".join(str(one.value) if isinstance(one, ast.Constant) else _HOLE for one in parts)}
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _given(path, name) or {_HOLE}
    return {_HOLE}


def _given(path: Path, name: str) -> set[str]:
    """The texts that a module gives to a name: by assignment, or as an argument of that name."""
    found = set()
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Assign(targets=[target], value=value) if _last(target) == name:
                found.add(value)
            case ast.keyword(arg=argument, value=value) if argument == name:
                found.add(value)
    return {text for value in found if isinstance(value, ast.Constant | ast.JoinedStr) for text in _texts(path, value)}


def _span_attributes(path: Path) -> Iterator[tuple[str, int]]:
    makes_spans = any(name.endswith("telemetry.span") for name, _ in calls(path))
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Call(func=ast.Attribute(attr="set_attribute"), args=[ast.Constant(value=key), *_]):
                yield str(key), node.lineno
            case ast.keyword(arg="attributes", value=ast.Dict() as given):
                yield from _keys(given)
            case ast.Assign(targets=[ast.Name(id="attributes")], value=ast.Dict() as given) if makes_spans:
                yield from _keys(given)
            case ast.FunctionDef(name="_attributes"):
                yield from (key for inner in ast.walk(node) if isinstance(inner, ast.Dict) for key in _keys(inner))


def _keywords(path: Path, call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg
            continue
        made = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Assign))
        for node in made:
            if isinstance(node.value, ast.Dict) and _last(node.targets[0]) == _last(keyword.value):
                yield from (key for key, _ in _keys(node.value))


def _assigned_keys(path: Path) -> Iterator[tuple[str, int]]:
    """What structlog's processors add to every line: `event["trace"] = …`."""
    for node in ast.walk(parsed(path)) if path.name == "logging.py" else ():
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="event"), slice=ast.Constant(value=key))]):
                yield str(key), node.lineno


def _keys(given: ast.Dict) -> list[tuple[str, int]]:
    return [(str(key.value), key.lineno) for key in given.keys if isinstance(key, ast.Constant)]


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]
