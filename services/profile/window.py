"""A window: how many records fell into each bin of a profile, and how many lie on the same side of two features.

Windows of one profile add up, and nothing else happens to them, so any split, order and merge of the same records
gives the same window, to the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.chassis.errors import Invalid
from services.profile.columns import Column, Counts, rows_of
from services.profile.reference import ReferenceProfile

_HEADER = struct.Struct("<4s32sq")  # what it is, its profile's digest, rows; then a little-endian int64 per bin
_MAGIC = b"GPW1"


@dataclass(frozen=True, eq=False)
class Window:
    """Integer counts under one profile.

    Args:
        profile: What the bins are.
        rows: How many records were counted, 0 or more.
        counts: Rows per bin, feature after feature, then rows that go together per relation, shape (profile.size,).
    """

    profile: ReferenceProfile
    rows: int
    counts: Counts

    def __add__(self, other: Window) -> Window:
        if self.profile.digest != other.profile.digest:
            raise Invalid("windows of different profiles don't add up")
        return Window(self.profile, self.rows + other.rows, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def of(self, name: str) -> Counts:
        """One feature's rows per bin, shape (its bins,); Invalid where the profile has no such feature."""
        place = self.profile.features.index(self.profile.feature(name))
        return self.counts[self.profile.offsets[place] : self.profile.offsets[place + 1]]

    @property
    def together(self) -> Counts:
        """Per relation the rows that lie on the same side of both features, shape (relations,)."""
        return self.counts[self.profile.bins :]

    def to_bytes(self) -> bytes:
        """Its bytes: 44, and 8 per bin and relation."""
        header = _HEADER.pack(_MAGIC, bytes.fromhex(self.profile.digest), self.rows)
        return header + self.counts.astype("<i8").tobytes()

    @staticmethod
    def from_bytes(data: bytes, profile: ReferenceProfile) -> Window:
        """The window of its bytes; Invalid where they aren't one of this profile."""
        if len(data) != _HEADER.size + 8 * profile.size:
            raise Invalid(f"a window of this profile has {_HEADER.size + 8 * profile.size} bytes, this has {len(data)}")
        magic, digest, rows = _HEADER.unpack_from(data)
        if magic != _MAGIC or digest.hex() != profile.digest:
            raise Invalid("isn't a window of this profile")
        counts = np.frombuffer(data, dtype="<i8", offset=_HEADER.size).astype(np.int64)
        if counts.min() < 0 or np.any(np.add.reduceat(counts[: profile.bins], profile.offsets[:-1]) != rows):
            raise Invalid("a feature's counts don't add up to the window's rows")
        if np.any(counts[profile.bins :] > rows):
            raise Invalid("more rows go together than there are")
        return Window(profile, rows, counts)


def empty(profile: ReferenceProfile) -> Window:
    """A window of no records."""
    return Window(profile, 0, np.zeros(profile.size, dtype=np.int64))


def count(profile: ReferenceProfile, columns: Mapping[str, Column]) -> Window:
    """The window of a batch of records.

    Args:
        profile: What the bins are.
        columns: A column per feature of the profile, by name; others are passed over.

    Raises:
        Invalid: A feature has no column, or one of another kind, or columns differ in length.
    """
    try:
        used = {feature.name: columns[feature.name] for feature in profile.features}
    except KeyError as missing:
        raise Invalid("the batch has no such column", where=str(missing.args[0])) from None
    rows = rows_of(used)
    return Window(profile, rows, profile.counter.count(used, rows))
