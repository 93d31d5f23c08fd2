"""Predictions of one place as columns, however they were told, and the batch that a model server would have sent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from goldenpath.modelserver.v1 import events_pb2 as pb
from goldenpath.monitor.v1.packed_pb2 import PackedBatch
from services.monitor.batches import ID_BYTES, LABEL, SCORE
from services.monitor.packed import Batch, head_of, number_column, text_column, zigzagged
from services.profile import CodedText, Column, Kind, ReferenceProfile, Role
from services.profile.columns import Counts, Numbers

_MISSING: Final = -1  # the code of a text that is missing


class Served(NamedTuple):
    """Where predictions were served."""

    model: str
    version: int
    environment: str
    epoch: int
    candidate: bool


@dataclass(frozen=True)
class Predictions:
    """Predictions of one place, a column per thing told; what one leaves out is missing.

    Args:
        place: Where they were served.
        ids: The records' ids, shape (rows, 16).
        times_us: When they were made, microseconds since 1970-01-01 UTC, shape (rows,).
        numbers: The numeric inputs, by name.
        texts: The inputs of text, by name.
        score: The scores; NaN where there is none.
        label: The labels that were predicted; nothing where none was told.
    """

    place: Served
    ids: NDArray[np.uint8]
    times_us: Counts
    numbers: Mapping[str, Numbers]
    texts: Mapping[str, CodedText]
    score: Numbers
    label: CodedText | None

    @property
    def rows(self) -> int:
        """How many they are."""
        return int(self.times_us.size)

    def only(self, rows: NDArray[np.bool_]) -> Predictions:
        """Some of them."""
        return Predictions(
            self.place,
            self.ids[rows],
            self.times_us[rows],
            {name: numbers[rows] for name, numbers in self.numbers.items()},
            {name: CodedText(text.codes[rows], text.dictionary) for name, text in self.texts.items()},
            self.score[rows],
            self.label and CodedText(self.label.codes[rows], self.label.dictionary),
        )


def random_ids(rows: int) -> NDArray[np.uint8]:
    """UUIDs of version 4 (RFC 9562) for records whose sender gave them none, shape (rows, 16)."""
    ids = np.frombuffer(bytearray(os.urandom(rows * ID_BYTES)), dtype=np.uint8).reshape(rows, ID_BYTES)
    ids[:, 6] = ids[:, 6] & 0x0F | 0x40
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def gathered(told: Predictions, name: str, number: int, profile: ReferenceProfile | None) -> Batch:
    """Predictions as a batch.

    Args:
        told: The predictions.
        name: Where the first of their poll stands, such as inference.records/3/1042.
        number: Which of the poll's batches of that place it is, from 1.
        profile: The version's reference, whose inputs are looked for; without it, whatever they have.
    """
    place, missing = told.place, np.full(told.rows, np.nan)
    no_text = CodedText(np.full(told.rows, _MISSING), ())
    numbers = {each: told.numbers.get(each, missing) for each in _names(told.numbers, profile, Kind.NUMERIC)}
    texts = {each: told.texts.get(each, no_text) for each in _names(told.texts, profile, Kind.CATEGORICAL)}
    labels = [text_column(LABEL, told.label)] if told.label else []
    body = PackedBatch(
        model=place.model,
        version=place.version,
        environment=place.environment,
        epoch=place.epoch,
        arm=pb.ARM_CANDIDATE if place.candidate else pb.ARM_STABLE,
        server=f"{name}/{place.model}/{place.environment}/{place.version}/{place.epoch}",
        batch=number,
        record_ids=told.ids.tobytes(),
        event_times_us=zigzagged(told.times_us),
        inputs=[
            *(number_column(each, column) for each, column in numbers.items()),
            *(text_column(each, column) for each, column in texts.items()),
        ],
        outputs=[number_column(SCORE, told.score), *labels],
    )
    columns: dict[str, Column] = {SCORE: told.score, **numbers, **texts}
    return Batch(head_of(body), body.SerializeToString(), columns, told.times_us)


def _names(told: Iterable[str], profile: ReferenceProfile | None, kind: Kind) -> list[str]:
    if profile is None:
        return sorted(told)
    made = {name for vector in profile.vectors for name in vector.features}
    single = [each.name for each in profile.features if each.kind is kind and each.role is Role.INPUT]
    parts = [name for vector in profile.vectors for name in vector.components if kind is Kind.NUMERIC]
    return [name for name in single if name not in made] + parts
