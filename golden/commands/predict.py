"""One prediction through the proxy, as any client would ask for it."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from golden.inference import request_of
from golden.output import Json, console, print_json
from golden.references import reference
from golden.session import connect
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import Invalid, Unavailable

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Input = Annotated[
    str, typer.Argument(metavar="[FILE]", help="A JSON object of inputs, or a request of the Open Inference Protocol.")
]
Unit = Annotated[str, typer.Option("--unit", help="The customer, card or device that it is about.")]


def predict(model: Model, file: Input = "", *, unit: Unit = "", json: Json = False) -> None:
    """Ask for one prediction: of a file, of standard input (-), or of the registered example."""
    name = reference(model).model
    body = _request(name, file)
    headers = {"x-unit-id": unit} if unit else {}
    platform = connect()
    url = f"{platform.endpoints.gateway}/v2/models/{name}/infer"
    try:
        answer = httpx.post(url, json=body, headers=headers, timeout=10)
    except httpx.HTTPError as error:
        raise Unavailable(f"nothing answers at {url}: {error}", fix="golden status") from None
    if answer.is_error:
        raise Invalid(_problem(answer), fix=f"golden predict {name}  sends the registered example")
    if json:
        print_json(answer.json())
        return
    document = answer.json()
    values = {output["name"]: output["data"][0] for output in document["outputs"] if output["data"]}
    for output, value in values.items():
        console.print(f"{output:<10} {value}")
    console.print(f"[dim]record {document['id']}  version {document.get('model_version', '?')}[/dim]")


def _request(model: str, file: str) -> dict[str, Any]:
    if not file:
        answer = connect().registry.GetVersion(registry.GetVersionRequest(model=model))
        if not answer.version.input_example_json:
            raise Invalid(f"{model} has no registered example", fix=f"golden predict {model} FILE")
        example: dict[str, Any] = json_module.loads(answer.version.input_example_json)
        return example
    try:
        document = json_module.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except (OSError, ValueError) as error:
        raise Invalid(f"it can't be read as JSON: {error}", where=file) from None
    if not isinstance(document, dict):
        raise Invalid("the input is a JSON object", where=file)
    return document if "inputs" in document else request_of(document)


def _problem(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the answer was {answer.status_code}: {answer.text[:200]}"
