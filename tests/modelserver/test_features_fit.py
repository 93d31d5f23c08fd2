"""What a version's features must be to be served: inputs that the model takes, of types that fit and may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from goldenpath.registry.v1 import events_pb2 as told
from services.chassis.clock import SystemClock
from services.chassis.errors import Invalid, Unavailable
from services.modelserver.features import Features
from services.modelserver.signature import Input, Matrix, Table

ONE_VIEW = told.FeatureSettings(views=[told.FeatureView(name="customers", inputs=["age"], keys=["customer"])])


class Given:
    """A source that gives inputs of some datatype, by a key of some other."""

    def __init__(self, datatype: str, key: str) -> None:
        self.key_types = {"customer": key}
        self._datatype = datatype

    def datatypes(self) -> dict[str, str]:
        return {"age": self._datatype}

    def read(self, keys: Mapping[str, Sequence[Any]], now: datetime) -> Sequence[Any]:
        raise Unavailable(f"nobody reads {keys} at {now}")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "columns", "reason"),
    [
        pytest.param(Given("BYTES", "BYTES"), [Input("age", "FP64")], "the store gives BYTES", id="another type"),
        pytest.param(Given("INT64", "BYTES"), [Input("age", "INT64")], "may be missing", id="a type without gaps"),
        pytest.param(Given("FP64", "BYTES"), [Input("wealth", "FP64")], "doesn't take it", id="an input it hasn't"),
        pytest.param(
            Given("FP64", "INT64"),
            [Input("age", "FP64"), Input("customer", "FP64")],
            "as a key it is INT64",
            id="a key that the model takes as something else",
        ),
    ],
)
def test_what_doesnt_fit_the_model_isnt_served(given: Given, columns: list[Input], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        Features(ONE_VIEW, Table(tuple(columns)), given, SystemClock())


def test_a_model_of_one_tensor_reads_no_features() -> None:
    with pytest.raises(Invalid, match="one tensor"):
        Features(ONE_VIEW, Matrix("x", "FP64", 3), Given("FP64", "BYTES"), SystemClock())


def test_a_key_that_the_model_takes_too_is_brought_once() -> None:
    table = Table((Input("age", "FP64"), Input("customer", "BYTES")))
    assert Features(ONE_VIEW, table, Given("FP64", "BYTES"), SystemClock()).asked == (Input("customer", "BYTES"),)
