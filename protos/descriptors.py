"""The contracts with their comments, and JSON schemas of their messages by the protobuf JSON mapping.

The comments are in the .proto sources alone: the compiler writes them into a descriptor set when it is asked for
source information, as a path of numbers per declaration (google/protobuf/descriptor.proto says which).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

ROOT: Final = Path(__file__).parent

_MESSAGES, _ENUMS = 4, 5  # field numbers in FileDescriptorProto
_FIELDS, _NESTED, _NESTED_ENUMS, _VALUES = 2, 3, 4, 2  # and in DescriptorProto and EnumDescriptorProto
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_WHOLE: Final = {"type": "integer"}
_LARGE: Final = {"type": ["string", "integer"], "format": "int64"}  # as text, since JavaScript has no such number
_SCALARS: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptorProto.TYPE_DOUBLE: _NUMBER,
    FieldDescriptorProto.TYPE_FLOAT: _NUMBER,
    FieldDescriptorProto.TYPE_INT32: _WHOLE,
    FieldDescriptorProto.TYPE_SINT32: _WHOLE,
    FieldDescriptorProto.TYPE_FIXED32: _WHOLE | {"minimum": 0},
    FieldDescriptorProto.TYPE_UINT32: _WHOLE | {"minimum": 0},
    FieldDescriptorProto.TYPE_INT64: _LARGE,
    FieldDescriptorProto.TYPE_SINT64: _LARGE,
    FieldDescriptorProto.TYPE_UINT64: _LARGE,
    FieldDescriptorProto.TYPE_FIXED64: _LARGE,
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_STRING: _TEXT,
    FieldDescriptorProto.TYPE_BYTES: _TEXT | {"contentEncoding": "base64"},
}
_WELL_KNOWN: Final[dict[str, dict[str, Any]]] = {
    "google.protobuf.Timestamp": _TEXT | {"format": "date-time"},
    "google.protobuf.Duration": _TEXT | {"pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
}


@dataclass
class Contracts:
    """Every message and enum of the contracts by its full name, and the comment of every declaration.

    Args:
        messages: By full name.
        enums: By full name.
        comments: By full name; a field's is its message's and its own.
        in_events: The messages that stand at the top of an events.proto.
        methods: The messages that an RPC takes or gives.
    """

    messages: dict[str, DescriptorProto] = field(default_factory=dict)
    enums: dict[str, EnumDescriptorProto] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    in_events: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)

    def referred(self) -> set[str]:
        """The messages that another message holds, or that an RPC takes or gives."""
        held = {one.type_name[1:] for message in self.messages.values() for one in message.field if one.type_name}
        return held | self.methods

    def comment(self, name: str) -> str:
        """A declaration's comment as one paragraph."""
        return " ".join(self.comments.get(name, "").split())


def read() -> Contracts:
    """Read every .proto of the suite.

    Raises:
        SystemExit: the compiler refused one; it has printed where and why.
    """
    contracts = Contracts()
    for file in _compiled().file:
        if file.package.startswith("goldenpath."):
            _add_file(file, contracts)
    return contracts


def _compiled() -> FileDescriptorSet:
    sources = sorted(str(path) for path in (ROOT / "goldenpath").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contracts.binpb"
        includes = [f"--proto_path={ROOT}", f"--proto_path={files('grpc_tools') / '_proto'}"]
        options = [f"--descriptor_set_out={out}", "--include_source_info", "--include_imports"]
        status = protoc.main(["protoc", *includes, *options, *sources])
        if status:
            raise SystemExit(status)
        return FileDescriptorSet.FromString(out.read_bytes())


def _add_file(file: FileDescriptorProto, contracts: Contracts) -> None:
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for name, path, message in _messages(file):
        contracts.messages[name] = message
        contracts.comments[name] = comments.get(path, "")
        for index, one in enumerate(message.field):
            contracts.comments[f"{name}.{one.name}"] = comments.get((*path, _FIELDS, index), "")
        for index, enum in enumerate(message.enum_type):
            _add_enum(f"{name}.{enum.name}", (*path, _NESTED_ENUMS, index), enum, contracts, comments)
    for index, enum in enumerate(file.enum_type):
        _add_enum(f"{file.package}.{enum.name}", (_ENUMS, index), enum, contracts, comments)
    contracts.methods |= {
        name[1:] for service in file.service for one in service.method for name in (one.input_type, one.output_type)
    }
    if file.name.endswith("/events.proto"):
        contracts.in_events |= {f"{file.package}.{message.name}" for message in file.message_type}


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...], DescriptorProto]]:
    waiting: list[tuple[str, tuple[int, ...], DescriptorProto]] = [
        (f"{file.package}.{one.name}", (_MESSAGES, index), one) for index, one in enumerate(file.message_type)
    ]
    while waiting:
        name, path, message = waiting.pop(0)
        yield name, path, message
        waiting += [
            (f"{name}.{one.name}", (*path, _NESTED, index), one) for index, one in enumerate(message.nested_type)
        ]


def _add_enum(
    name: str,
    path: tuple[int, ...],
    enum: EnumDescriptorProto,
    contracts: Contracts,
    comments: dict[tuple[int, ...], str],
) -> None:
    contracts.enums[name] = enum
    contracts.comments[name] = comments.get(path, "")
    for index, value in enumerate(enum.value):
        contracts.comments[f"{name}.{value.name}"] = comments.get((*path, _VALUES, index), "")


def schemas_of(names: list[str], contracts: Contracts) -> dict[str, dict[str, Any]]:
    """JSON schemas of these messages and of all that they hold, by full name."""
    made: dict[str, dict[str, Any]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in made:
            made[name] = _enum(name, contracts) if name in contracts.enums else _message(name, contracts)
            waiting += sorted(_held(name, contracts))
    return dict(sorted(made.items()))


def _held(name: str, contracts: Contracts) -> set[str]:
    message = contracts.messages.get(name, DescriptorProto())
    entries = {f"{name}.{one.name}": one for one in message.nested_type if one.options.map_entry}
    fields = [one for one in message.field if one.type_name[1:] not in entries]
    fields += [entry.field[1] for entry in entries.values()]
    return {one.type_name[1:] for one in fields if one.type_name and one.type_name[1:] not in _WELL_KNOWN}


def _message(name: str, contracts: Contracts) -> dict[str, Any]:
    properties = {
        one.json_name: _property(one, name, contracts) | {"description": contracts.comment(f"{name}.{one.name}")}
        for one in contracts.messages[name].field
    }
    return {
        "type": "object",
        "description": contracts.comment(name),
        "properties": properties,
        "additionalProperties": False,
    }


def _enum(name: str, contracts: Contracts) -> dict[str, Any]:
    values = [value.name for value in contracts.enums[name].value]
    meanings = "; ".join(f"{value}: {contracts.comment(f'{name}.{value}')}" for value in values)
    return {"type": "string", "description": f"{contracts.comment(name)} {meanings}", "enum": values}


def _property(one: FieldDescriptorProto, owner: str, contracts: Contracts) -> dict[str, Any]:
    entry = next((e for e in contracts.messages[owner].nested_type if f".{owner}.{e.name}" == one.type_name), None)
    if entry is not None and entry.options.map_entry:
        return {"type": "object", "additionalProperties": _single(entry.field[1])}
    if one.label == FieldDescriptorProto.LABEL_REPEATED:
        return {"type": "array", "items": _single(one)}
    return _single(one)


def _single(one: FieldDescriptorProto) -> dict[str, Any]:
    name = one.type_name[1:]
    if not name:
        return dict(_SCALARS[one.type])
    return dict(_WELL_KNOWN.get(name) or {"$ref": f"#/components/schemas/{name}"})


def type_of(one: FieldDescriptorProto, owner: str, contracts: Contracts) -> str:
    """A field's type in a word or two, for people."""
    shape = _property(one, owner, contracts)
    if "items" in shape:
        return f"list of {_word(shape['items'])}"
    if "additionalProperties" in shape:
        return f"map from text to {_word(shape['additionalProperties'])}"
    return _word(shape)


def _word(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition(".")[2]
    known = {"date-time": "time", "int64": "64-bit whole number"}.get(str(shape.get("format")))
    plain = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return known or ("bytes" if "contentEncoding" in shape else plain.get(str(shape.get("type")), "anything"))
