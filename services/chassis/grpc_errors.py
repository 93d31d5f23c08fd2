"""How errors cross gRPC: the status says the error's type, the trailing metadata what, where and what to do.

A client gets the same exception back that the server raised; an unknown error is INTERNAL without detail.
"""

from __future__ import annotations

import json
from typing import Final

import grpc

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, TooSlow, Unavailable
from services.chassis.identity import Unauthenticated

_DETAIL: Final = "goldenpath-error-bin"
_LONGEST: Final = 1500  # characters of a sentence: clients refuse more than 8 KiB of metadata in all

STATUS: Final[dict[type[GoldenpathError], grpc.StatusCode]] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Denied: grpc.StatusCode.PERMISSION_DENIED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    TooSlow: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_ERRORS: Final = {status: kind for kind, status in STATUS.items()} | {
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Invalid,
}


def status_of(error: GoldenpathError) -> grpc.StatusCode:
    """The status that says an error's type."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def details_of(error: GoldenpathError) -> str:
    """What is wrong, as a status's details."""
    return _short(error.what)


def trailers_of(error: GoldenpathError) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that says where and what to do."""
    return ((_DETAIL, json.dumps({"where": _short(error.where), "fix": _short(error.fix)}).encode()),)


def error_of(failure: grpc.RpcError) -> GoldenpathError:
    """The error that a server raised, out of what its client got."""
    call: grpc.Call = failure  # type: ignore[assignment] # every failed call is both
    kind = _ERRORS.get(call.code(), Unavailable)
    detail = {"where": "", "fix": ""}
    for name, value in call.trailing_metadata() or ():
        if name == _DETAIL and isinstance(value, bytes):
            detail = json.loads(value)
    return kind(call.details() or call.code().name, where=detail["where"], fix=detail["fix"])


def _short(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "replace").decode()
