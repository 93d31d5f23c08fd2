"""One prediction through the proxy, as any client would ask for it."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golden.inference import request_of
from golden.output import Json, console, escape, print_json
from golden.references import model_of
from golden.session import connect
from goldenpath.registry.v1 import registry_service_pb2 as registry
from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    import httpx

_SEND_EXAMPLE = "golden predict {}  sends the registered example"
_TIMEOUT_S = 10.0  # a model server answers in milliseconds; the rest is for one that has just been started
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Input = Annotated[
    str, typer.Argument(metavar="FILE", help="A JSON object of inputs, or a request of the Open Inference Protocol.")
]
Unit = Annotated[str, typer.Option("--unit", help="The customer, card or device that it is about.")]


def predict(model: Model, file: Input = "", *, unit: Unit = "", json: Json = False) -> None:
    """Ask for one prediction: of a file, of standard input (-), or of the registered example."""
    name = model_of(model)
    document = _read(file) if file else _example(name)
    url = f"{_gateway()}/v2/models/{name}"
    body = document if "inputs" in document else request_of(document, _datatypes(url, name))
    try:
        answer = _answer("POST", f"{url}/infer", name, json=body, headers={"x-unit-id": unit} if unit else {})
    except Invalid as error:
        raise Invalid(error.what, fix=_instead(url, name) if not file else _SEND_EXAMPLE.format(name)) from None
    if json:
        print_json(answer)
    else:
        _show(answer)


def _gateway() -> str:
    gateway = connect().endpoints.gateway
    if not gateway:
        raise Unavailable("nobody said where the proxy is", fix="set GOLDEN_GATEWAY, such as http://127.0.0.1:9780")
    return gateway.rstrip("/")


def _read(file: str) -> dict[str, Any]:
    try:
        document = json_module.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except (OSError, ValueError) as error:
        raise Invalid(f"it can't be read as JSON: {error}", where=file) from None
    if not isinstance(document, dict):
        raise Invalid("the input is a JSON object", where=file, fix='write {"NAME": VALUE, …}')
    return document


def _example(model: str) -> dict[str, Any]:
    answer = connect().registry.GetVersion(registry.GetVersionRequest(model=model))
    if not answer.version.input_example_json:
        raise Invalid(f"{model} has no registered example", fix=f"golden predict {model} FILE")
    example: dict[str, Any] = json_module.loads(answer.version.input_example_json)
    return example


def _datatypes(url: str, model: str) -> dict[str, str]:
    """What the signature wants: a whole number is refused where it comes as a double."""
    metadata = _answer("GET", url, model)
    return {str(one["name"]): str(one["datatype"]) for one in metadata.get("inputs", ())}


def _instead(url: str, model: str) -> str:
    """What to send where the example won't do: it is training's, and brings no keys that features are read by."""
    takes = ", ".join(f'"{name}": …' for name in _datatypes(url, model))
    return f"write {{{takes}}} into a file, and  golden predict {model} FILE"


def _answer(method: str, url: str, model: str, **more: Any) -> dict[str, Any]:
    import httpx

    try:
        response = httpx.request(method, url, timeout=_TIMEOUT_S, **more)
    except httpx.HTTPError as error:
        raise Unavailable(f"nothing answers at {url}: {error}", fix="golden status") from None
    if response.is_error:
        raise _refused(response, model)
    try:
        found: dict[str, Any] = response.json()
    except ValueError:
        raise Unavailable(f"what answers at {url} is no model server", fix="golden doctor") from None
    return found


def _refused(response: httpx.Response, model: str) -> GoldenpathError:
    said = _problem(response)
    if response.status_code == 404:  # noqa: PLR2004 - HTTP's own number: the proxy has no route
        return NotFound(f"nothing serves {model}: {said}", fix="golden status")
    if response.is_server_error:
        return Unavailable(said, fix="golden doctor")
    return Invalid(said)


def _problem(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the answer was {response.status_code} {response.text[:200]}".strip()


def _show(answer: dict[str, Any]) -> None:
    """A line for each output; several rows stand beside each other."""
    for output in answer["outputs"]:
        console.print(escape(f"{output['name']:<10} {'  '.join(map(str, output['data']))}"))
    records = answer.get("parameters", {}).get("record_ids") or answer.get("id", "?")
    word = "records" if "," in records else "record"
    said = f"{word} {records.replace(',', ' ')}  version {answer.get('model_version', '?')}"
    console.print(f"[dim]{escape(said)}[/dim]")
