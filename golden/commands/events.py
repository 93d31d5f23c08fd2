"""Events: check one before it is published, and follow what the suite tells."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from google.protobuf import symbol_database
from google.protobuf.message import Message

from golden.output import Json, as_dict, console, escape, print_json
from golden.session import connect
from services.chassis import cloudevents
from services.chassis.errors import GoldenpathError, Invalid, Unavailable
from services.chassis.topics import TOPICS

if TYPE_CHECKING:
    from services.chassis.settings import KafkaAccess

app = typer.Typer(no_args_is_help=True, help="Check an event before it is published, and follow what is told.")

_PACKAGES: Final = ("registry", "governance", "deployer", "monitor", "ingest", "modelserver")
File = Annotated[str, typer.Argument(metavar="FILE", help="A structured CloudEvent in JSON; - for standard input.")]
Model = Annotated[str, typer.Option("--model", help="Only events about this model.")]
FromStart = Annotated[bool, typer.Option("--all", help="From the beginning, not from now on.")]


@app.command()
def validate(file: File, *, json: Json = False) -> None:
    """Check a structured CloudEvent against its contract, as the suite would when it reads it."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"it can't be read: {error}", where=file) from None
    event = cloudevents.read([("content-type", cloudevents.STRUCTURED.encode())], text.encode())
    body = cloudevents.body(event, _schema(event.type))
    cloudevents.check_finite(body)
    if json:
        print_json({"type": event.type, "id": event.id, "valid": True})
    else:
        topic = next(topic.name for topic in TOPICS if event.type in {one.name for one in topic.types})
        console.print(f"[green]✓[/green] {event.type} is well-formed; publish it on [bold]{topic}[/bold]")


@app.command()
def tail(*, model: Model = "", everything: FromStart = False, json: Json = False) -> None:
    """Follow the control events of every service, until Ctrl-C."""
    kafka = connect().endpoints.kafka
    if not kafka.bootstrap:
        raise Unavailable("nobody said where Kafka is", fix="set GOLDEN_KAFKA")
    asyncio.run(_tail(kafka, model, everything=everything, json=json))


async def _tail(kafka: KafkaAccess, model: str, *, everything: bool, json: bool) -> None:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaError

    topics = [topic.name for topic in TOPICS if topic.name != "inference.records"]
    offset = "earliest" if everything else "latest"
    consumer = AIOKafkaConsumer(*topics, **kafka.client(), auto_offset_reset=offset)
    try:
        await consumer.start()
        async for record in consumer:
            _show(record, model, json=json)
    except KafkaError as error:
        raise await kafka.explained(error) from None
    finally:
        await consumer.stop()


def _show(record: Any, model: str, *, json: bool) -> None:
    try:
        event = cloudevents.read(record.headers, record.value)
        body = as_dict(cloudevents.body(event, _schema(event.type)))
    except GoldenpathError as error:
        console.print(f"[red]✗[/red] {record.topic}/{record.partition}@{record.offset}: {escape(str(error))}")
        return
    if model and event.subject != f"model/{model}":
        return
    if json:
        print_json({"type": event.type, "subject": event.subject, "time": event.time.isoformat(), "data": body})
        return
    at: datetime = event.time.astimezone()
    short = json_module.dumps(body, default=str)
    console.print(
        f"[dim]{at:%H:%M:%S}[/dim]  [bold]{escape(event.type):<28}[/bold] {escape(event.subject):<28} {escape(short)}",
        no_wrap=True,
        crop=True,
        overflow="ellipsis",
    )


def _schema(type_name: str) -> type[Message]:
    for package in _PACKAGES:
        import_module(f"goldenpath.{package}.v1.events_pb2")
    known = {one.name: one.schema for topic in TOPICS for one in topic.types}
    if type_name not in known:
        raise Invalid(f"there is no event type {type_name!r}", where="type", fix=f"one of {', '.join(sorted(known))}")
    schema: type[Message] = symbol_database.Default().GetSymbol(known[type_name])
    return schema
