"""What the server says about itself and its version, the same over HTTP and gRPC."""

from __future__ import annotations

from importlib import metadata
from typing import Final, NamedTuple

from services.modelserver.inference import Served
from services.modelserver.signature import Matrix

SERVER_NAME: Final = "goldenpath"
SERVER_VERSION: Final = metadata.version("goldenpath")


class TensorMetadata(NamedTuple):
    """One input or output; -1 in a shape is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


def inputs_of(served: Served, *, whole: bool = False) -> list[TensorMetadata]:
    """What a request brings; of the whole row also what the server would read from the feature store."""
    signature = served.signature
    if served.asked and not whole:
        return [TensorMetadata(column.name, column.datatype, [-1]) for column in served.asked]
    if isinstance(signature, Matrix):
        return [TensorMetadata(signature.name or "input", signature.datatype, [-1, signature.width])]
    return [TensorMetadata(column.name, column.datatype, [-1]) for column in signature.columns]


def outputs_of(served: Served) -> list[TensorMetadata]:
    """What the version gives."""
    return [TensorMetadata(output.name, output.datatype, [-1]) for output in served.outputs]
