"""What the judge remembers of a version in its role: small, frozen, and bytes in a row of a database."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from services.chassis.errors import Invalid
from services.monitor.domain.history import History, Stretch

FORMAT = 1
MOST_BYTES = 16 * 2**20  # fifty stretches of five thousand features' commonest bins; never near it in practice
_HEADER = struct.Struct("<I")  # the length of the JSON that comes before the counts


@dataclass(frozen=True)
class State:
    """What is known of a version in its role.

    Args:
        profile: The digest of the profile that it is judged by.
        rows_seen: Records seen in this role.
        day: The day (UTC) that the present stretch of evidence belongs to.
        restarts: How many times evidence has restarted on that day before the present stretch.
        noticed: Whether the present stretch has noticed a change already.
        drifting: The names of the parts that drift; empty where none does.
        history: The records of the present stretch.
    """

    profile: str
    rows_seen: int
    day: date
    restarts: int
    noticed: bool
    drifting: tuple[str, ...]
    history: History

    def to_bytes(self) -> bytes:
        """Its bytes."""
        header = json.dumps(_header_of(self), sort_keys=True, separators=(",", ":")).encode()
        counts = b"".join(stretch.counts.astype("<i8").tobytes() for stretch in self.history.stretches)
        return zlib.compress(_HEADER.pack(len(header)) + header + counts, level=1)

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
        "rows_seen": state.rows_seen,
        "day": state.day.isoformat(),
        "restarts": state.restarts,
        "noticed": state.noticed,
        "drifting": state.drifting,
        "panes": state.history.panes,
        "stretches": [[s.pane, s.began.timestamp(), s.rows] for s in state.history.stretches],
    }


def _state_of(header: Any, counts: bytes) -> State:
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']!r}, not {FORMAT}")
    flat = np.frombuffer(counts, dtype="<i8").astype(np.int64)
    shaped = flat.reshape(len(header["stretches"]), -1) if flat.size else flat
    stretches = tuple(
        Stretch(int(pane), datetime.fromtimestamp(began, UTC), int(rows), row)
        for (pane, began, rows), row in zip(header["stretches"], shaped, strict=True)
    )
    return State(
        profile=str(header["profile"]),
        rows_seen=int(header["rows_seen"]),
        day=date.fromisoformat(header["day"]),
        restarts=int(header["restarts"]),
        noticed=bool(header["noticed"]),
        drifting=tuple(map(str, header["drifting"])),
        history=History(stretches, int(header["panes"])),
    )
