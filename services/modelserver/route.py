"""What the router says about a request, in headers that it stamps and that no client can set through it.

| header | what | where it is missing |
| --- | --- | --- |
| x-request-id | pairs a shadow record with its twin | empty |
| x-goldenpath-epoch | the deployment's epoch | 0 |
| x-goldenpath-arm | stable, candidate, shadow, holdback or replay | stable |
| x-goldenpath-probability | the probability of that choice, above 0, at most 1 | 1 |
| x-unit-id (from the client) | the customer, card or device | empty |
| traceparent | the caller's trace | none |

Where a proxy can't stamp a mirrored copy anew, the copy arrives with the headers of the request that it copies, and
the server's settings say the arm. A replay is a replay all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from services.chassis.errors import Invalid

_LONGEST = 256  # characters of an id; a longer one is no id, and would fill the record buffer


class Arm(Enum):
    """In which role a request is served. A replay is a comparison by the deployer, and leaves no record."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    SHADOW = "shadow"
    HOLDBACK = "holdback"
    REPLAY = "replay"


_ARMS = {arm.value: arm for arm in Arm}


class Route(NamedTuple):
    """How a request came here."""

    request_id: str = ""
    epoch: int = 0
    arm: Arm = Arm.STABLE
    probability: float = 1.0
    unit: str = ""
    traceparent: str = ""


def route_of(headers: Mapping[str, str], arm: Arm | None = None) -> Route:
    """Read the router's headers; where an arm is given, it stands instead of the header's.

    Raises:
        Invalid: a header is malformed; `where` names it.
    """
    get = headers.get
    epoch, probability = get("x-goldenpath-epoch"), get("x-goldenpath-probability")
    stamped = _arm(get("x-goldenpath-arm", "stable"))
    return Route(
        _id("x-request-id", get("x-request-id", "")),
        _epoch(epoch) if epoch else 0,
        arm if arm is not None and stamped is not Arm.REPLAY else stamped,
        _probability(probability) if probability else 1.0,
        _id("x-unit-id", get("x-unit-id", "")),
        get("traceparent", ""),
    )


def _id(header: str, text: str) -> str:
    if len(text) > _LONGEST:
        raise Invalid(f"longer than {_LONGEST} characters", where=header)
    return text


def _arm(text: str) -> Arm:
    arm = _ARMS.get(text)
    if arm is None:
        raise Invalid(f"{text!r:.40} is none of {', '.join(_ARMS)}", where="x-goldenpath-arm")
    return arm


def _epoch(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 (digits that fit into 64 bits)
        raise Invalid(f"{text!r:.40} is no epoch, a whole number from 0", where="x-goldenpath-epoch")
    return int(text)


def _probability(text: str) -> float:
    try:
        probability = float(text)
    except ValueError:
        probability = 0.0
    if not 0 < probability <= 1:
        raise Invalid(f"{text!r:.40} is no probability above 0 and at most 1", where="x-goldenpath-probability")
    return probability
