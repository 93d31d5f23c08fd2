"""What the judge remembers of a version in its role: small, frozen, and bytes in a row of a database."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Invalid
from services.monitor.domain.history import History, Stretch
from services.profile.columns import Numbers

FORMAT = 3
MOST_BYTES = 16 * 2**20  # fifty stretches of five thousand features' commonest bins; never near it in practice
_HEADER = struct.Struct("<I")  # the length of the JSON that comes before the numbers
_NUMBER = 8  # bytes
ANY = -1  # hour of the week


@dataclass(frozen=True, eq=False)
class State:
    """What is known of a version in its role.

    Args:
        profile: The digest of the profile that it is judged by.
        day: The day (UTC) that the present stretch of evidence belongs to.
        restarts: How many times evidence has restarted on that day before the present stretch.
        evidence: The evidence for each alternative, shape (parts, alternatives).
        relations: The evidence for each alternative of a relation, shape (relations, alternatives).
        history: The records of the present stretch.
        rows_seen: Records seen in this role.
        rows_before: Records seen in this role before that day.
        expected: Records that the day before had; 0 where it isn't known.
        noticed: Whether the present stretch has noticed a change already.
        cell: The hour of the week whose rows of the reference it is held against; ANY: all rows.
        drifting: The names of the parts that drift; empty where none does.
    """

    profile: str
    day: date
    restarts: int
    evidence: Numbers
    relations: Numbers
    history: History = field(default_factory=History)
    rows_seen: int = 0
    rows_before: int = 0
    expected: int = 0
    noticed: bool = False
    cell: int = ANY
    drifting: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Its bytes."""
        header = json.dumps(_header_of(self), sort_keys=True, separators=(",", ":")).encode()
        counts = b"".join(each.counts.astype("<i8").tobytes() for each in self.history.stretches)
        together = b"".join(each.together.astype("<i8").tobytes() for each in self.history.stretches)
        evidence = self.evidence.astype("<f8").tobytes() + self.relations.astype("<f8").tobytes()
        return zlib.compress(_HEADER.pack(len(header)) + header + evidence + counts + together, level=1)

    @staticmethod
    def from_bytes(data: bytes) -> State:
        """The state of its bytes; Invalid where they aren't one."""
        try:
            plain = zlib.decompressobj().decompress(data, MOST_BYTES)
            (length,) = _HEADER.unpack_from(plain)
            start = _HEADER.size + length
            return _state_of(json.loads(plain[_HEADER.size : start]), plain[start:])
        except (ValueError, KeyError, TypeError, struct.error, zlib.error, OverflowError) as error:
            raise Invalid(f"isn't a judge's state: {error!r}") from error


def _header_of(state: State) -> dict[str, object]:
    return {
        "format": FORMAT,
        "profile": state.profile,
        "day": state.day.isoformat(),
        "restarts": state.restarts,
        "rows": [state.rows_seen, state.rows_before, state.expected],
        "noticed": state.noticed,
        "cell": state.cell,
        "drifting": state.drifting,
        "evidence": state.evidence.shape,
        "relations": state.relations.shape,
        "groups": state.history.stretches[0].counts.shape if state.history.stretches else (),
        "stretches": [[each.began.timestamp(), each.rows] for each in state.history.stretches],
    }


class _Numbers:
    """Arrays, one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, kind: str, *shape: int) -> NDArray[np.generic]:
        """The next one; ValueError where its bytes aren't there."""
        start, self._place = self._place, self._place + _NUMBER * int(np.prod(shape))
        return np.frombuffer(self._data[start : self._place], dtype=kind).reshape(shape)


def _state_of(header: Any, numbers: bytes) -> State:
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']!r}, not {FORMAT}")
    rest = _Numbers(numbers)
    evidence = rest.take("<f8", *map(int, header["evidence"])).astype(np.float64)
    relations = rest.take("<f8", *map(int, header["relations"])).astype(np.float64)
    stretches = header["stretches"]
    counts = rest.take("<i8", len(stretches), *map(int, header["groups"])).astype(np.int64)
    together = rest.take("<i8", len(stretches), len(relations)).astype(np.int64)
    seen, before, expected = map(int, header["rows"])
    return State(
        profile=str(header["profile"]),
        day=date.fromisoformat(header["day"]),
        restarts=int(header["restarts"]),
        evidence=evidence,
        relations=relations,
        history=History(
            tuple(
                Stretch(datetime.fromtimestamp(began, UTC), int(rows), held, related)
                for (began, rows), held, related in zip(stretches, counts, together, strict=True)
            )
        ),
        rows_seen=seen,
        rows_before=before,
        expected=expected,
        noticed=bool(header["noticed"]),
        cell=int(header["cell"]),
        drifting=tuple(map(str, header["drifting"])),
    )
