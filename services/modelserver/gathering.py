"""Requests that arrive together are predicted together.

A scikit-learn prediction has a fixed cost, in validation and in Python, that one row pays as well as sixty: 190 µs for
a scaler and a logistic regression, 5 ms for a pipeline of thirty mixed columns, against next to nothing for a further
row. So whatever reaches the model in one turn of the event loop goes in as one call. Nobody waits for company: there is
no timer, and a request that comes alone is predicted alone, in the same turn.

Only models whose rows can't know of each other are gathered, those made of nothing but scikit-learn's own parts; the
answer for a row is then the same but for the last bits of its rounding. When a call fails, each of its requests is
predicted alone, and only the guilty one gets the error.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.modelserver.predict import Prediction, Predictor
from services.modelserver.schema import Rows

GATHERED_ROWS: Final = 64  # the most in one call, so that a turn of the event loop stays short

_Waiting = list[tuple[Rows, "asyncio.Future[Prediction]"]]


class Gathering:
    """Predicts small requests on the event loop, together with those that arrive in the same turn.

    Args:
        predictor: The model; it must treat every row by itself.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting: _Waiting = []
        self._rows = 0

    async def predict(self, rows: Rows) -> Prediction:
        """Predict a request's rows, at most GATHERED_ROWS of them.

        Raises:
            Invalid: the model can't take one of its values.
        """
        if self._rows + rows.size > GATHERED_ROWS:
            self._predict_all()
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._predict_all)
        answer: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((rows, answer))
        self._rows += rows.size
        return await answer

    def _predict_all(self) -> None:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if len(waiting) > 1:
            self._predict_together(waiting)
        for rows, answer in waiting:
            if not answer.done():
                self._predict_alone(rows, answer)

    def _predict_together(self, waiting: _Waiting) -> None:
        try:
            prediction = self._predictor.predict(_joined([rows for rows, _ in waiting]))
        except Exception:  # noqa: BLE001 (each is then predicted alone, which tells whose fault it is)
            return
        start = 0
        for rows, answer in waiting:
            _give(answer, _part(prediction, start, start + rows.size))
            start += rows.size

    def _predict_alone(self, rows: Rows, answer: asyncio.Future[Prediction]) -> None:
        try:
            _give(answer, self._predictor.predict(rows))
        except Exception as error:  # noqa: BLE001 (whatever the model raises belongs to whoever asked)
            answer.set_exception(error)


def _give(answer: asyncio.Future[Prediction], prediction: Prediction) -> None:
    if not answer.done():  # its request may have been cancelled
        answer.set_result(prediction)


def _joined(parts: list[Rows]) -> Rows:
    columns: list[list[Any]] = [list(values) for values in parts[0].columns]
    for part in parts[1:]:
        for column, values in zip(columns, part.columns, strict=True):
            column.extend(values)
    return Rows(columns, sum(part.size for part in parts))


def _part(prediction: Prediction, start: int, end: int) -> Prediction:
    labels = prediction.labels
    return Prediction(prediction.scores[start:end], None if labels is None else labels[start:end])
