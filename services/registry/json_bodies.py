"""Messages of the contract as JSON over HTTP: one mapping, protobuf's own, with the field names of the contract.

The JSON schemas for OpenAPI are made from the messages' descriptors, so what HTTP documents can't drift away from
what it takes and gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from fastapi.responses import JSONResponse
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.chassis.errors import Invalid

M = TypeVar("M", bound=Message)

_SCALARS: Final[Mapping[int, Mapping[str, Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "description": "A whole number, as text."},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "description": "A whole number, 0 or more, as text."},
    FieldDescriptor.CPPTYPE_DOUBLE: {
        "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"], "type": "string"}]
    },
}


def message_of(body: Mapping[str, Any], schema: type[M]) -> M:
    """A request's body as a message.

    Raises:
        Invalid: it isn't one; an unknown field is an error too.
    """
    message = schema()
    try:
        json_format.ParseDict(dict(body), message)
    except (json_format.ParseError, RecursionError) as error:
        raise Invalid(f"the body isn't a {schema.DESCRIPTOR.name}: {error}", where="body") from None
    return message


def response_of(message: Message) -> JSONResponse:
    """A message as a response; fields that are zero or empty are there too."""
    return JSONResponse(
        json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )


def answers(schema: type[Message]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: what it gives."""
    return {200: {"content": {"application/json": {"schema": schema_of(schema.DESCRIPTOR)}}}}


def takes(schema: type[Message]) -> dict[str, Any]:
    """For a route's `openapi_extra`: what it takes."""
    content = {"application/json": {"schema": schema_of(schema.DESCRIPTOR)}}
    return {"requestBody": {"required": True, "content": content}}


def schema_of(descriptor: Any) -> dict[str, Any]:
    """The JSON schema of a message, from its descriptor (of whichever of protobuf's two implementations)."""
    if descriptor.full_name == "google.protobuf.Timestamp":
        return {"type": "string", "format": "date-time"}
    if descriptor.full_name == "google.protobuf.Duration":
        return {"type": "string", "description": "Seconds, such as 0.05s."}
    fields = {field.name: _field(field) for field in descriptor.fields}
    return {"title": descriptor.name, "type": "object", "properties": fields, "additionalProperties": False}


def _field(field: FieldDescriptor) -> dict[str, Any]:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _single(entry.fields_by_name["value"])}
    return {"type": "array", "items": _single(field)} if field.is_repeated else _single(field)


def _single(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None:
        return schema_of(field.message_type)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "format": "byte"}
    return dict(_SCALARS[field.cpp_type])
