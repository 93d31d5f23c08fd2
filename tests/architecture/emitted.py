"""What the services emit, read out of their source: the type and the body's message of every call that tells something.

A type stands there as a text, as a constant of the service's `events`, or as a text with a hole; a body as a message,
or as what a function returns that says so. What is passed through a parameter is collected where it is passed in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.chassis.topics import TOPICS, Topic
from tests.architecture.tree import ROOT, modules, parsed, place

# By the name of what tells: where in its arguments the type stands, and where the body.
TELLS: Final = {"emit": (1, 3), "tell": (2, 3), "tell_once_effective": (2, 3), "event_of": (-1, 0)}
_LATER: Final = {"take_effect"}  # tells what `tell_once_effective` was given


@dataclass(frozen=True, order=True)
class Emitted:
    """One thing that a service tells: an event's type, its body's message, and where."""

    type: str
    message: str
    where: str


def topic_of(service: str) -> Topic:
    """The topic that a service owns."""
    (topic,) = [topic for topic in TOPICS if topic.owner == service]
    return topic


def emitted_by(service: str) -> set[Emitted]:
    """Everything that a service tells."""
    found = {one for path in modules(f"services/{service}") for one in _in_module(service, path)}
    return found | {Emitted("event.rejected", "EventRejected", where) for where in _rejections(service)}


def _in_module(service: str, path: Path) -> Iterator[Emitted]:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            if _tells(call):
                yield from _of_call(service, path, function, call)


def _tells(call: ast.Call) -> bool:
    # The chassis' `event_of` is called by its name; a method of that name is a service's own.
    return _last(call.func) in TELLS and (isinstance(call.func, ast.Name) or _last(call.func) != "event_of")


def _of_call(
    service: str, path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call
) -> Iterator[Emitted]:
    type_at, body_at = TELLS[_last(call.func)]
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    type_ = named["type"] if type_at < 0 else call.args[type_at]
    passed_in = isinstance(type_, ast.Name) and type_.id in {one.arg for one in function.args.args}
    if passed_in or function.name in _LATER:
        return
    messages, where = _messages(service, function, call.args[body_at]), place(path, call.lineno)
    types = _types(service, type_)
    if len(types) == 1 and len(messages) <= 1:
        yield Emitted(types[0], next(iter(messages), "?"), where)
        return
    # A text with a hole: which type goes with which body, their names say.
    by_message = {_message_of(name): name for name in types}
    yield from (Emitted(by_message.get(message, "?"), message, where) for message in messages or {"?"})


def _types(service: str, node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            pattern = "".join(re.escape(str(one.value)) if isinstance(one, ast.Constant) else ".+" for one in parts)
            return [one.name for one in topic_of(service).types if re.fullmatch(pattern, one.name)]
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return [_constants(service)[name]] if name in _constants(service) else []
    return []


def _messages(service: str, function: ast.AST, node: ast.expr) -> set[str]:
    match node:
        case ast.IfExp(body=one, orelse=other):
            return _messages(service, function, one) | _messages(service, function, other)
        case ast.Call(func=called) if _last(called)[:1].isupper():
            return {_last(called)}
        case ast.Call(func=called):
            return _returned(service, _last(called))
        case ast.Attribute(attr=name):
            return _fields(service, name)
        case ast.Name(id=name):
            made = (one for one in ast.walk(function) if isinstance(one, ast.Assign | ast.AnnAssign) and one.value)
            return {
                message
                for one in made
                if name in {_last(target) for target in (one.targets if isinstance(one, ast.Assign) else [one.target])}
                for message in _messages(service, function, one.value or node)
            }
    return set()


def _fields(service: str, name: str) -> set[str]:
    """The types of the dataclasses' fields of that name."""
    classes = (node for path in modules(f"services/{service}") for node in ast.walk(parsed(path)))
    fields = (field for node in classes if isinstance(node, ast.ClassDef) for field in node.body)
    return {
        _last(field.annotation) for field in fields if isinstance(field, ast.AnnAssign) and _last(field.target) == name
    }


def _returned(service: str, name: str) -> set[str]:
    functions = (node for path in modules(f"services/{service}") for node in ast.walk(parsed(path)))
    return {
        _last(node.returns)
        for node in functions
        if isinstance(node, ast.FunctionDef) and node.name == name and node.returns is not None
    }


def _constants(service: str) -> dict[str, str]:
    """The texts that a service's `events` gives a name."""
    path = ROOT / "services" / service / "events.py"
    assigned = [node for node in (parsed(path).body if path.exists() else []) if isinstance(node, ast.AnnAssign)]
    return {_last(node.target): str(node.value.value) for node in assigned if isinstance(node.value, ast.Constant)}


def _rejections(service: str) -> Iterator[str]:
    """Where a service's consumer is told to tell publishers why their events were refused."""
    for path in modules(f"services/{service}"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.keyword) and node.arg == "rejections":
                yield place(path, node.value.lineno)


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2].strip("'\"")


def _message_of(type_name: str) -> str:
    return "".join(part.title() for part in type_name.replace(".", "_").split("_"))
