"""`golden features`: which versions read a feature view, and where they serve. Whom it hurts when the view breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from golden.output import Json, as_dict, console, escape, print_json, table
from golden.session import connect
from goldenpath.registry.v1 import events_pb2 as events
from goldenpath.registry.v1 import registry_service_pb2 as registry

if TYPE_CHECKING:
    from golden.connection import Connection

View = Annotated[str, typer.Argument(metavar="VIEW", help="The feature view, by its name in the repository.")]


def features(view: View, *, json: Json = False) -> None:
    """Show which versions read a feature view: who is at risk when it breaks."""
    platform = connect()
    found = list(_versions(platform, view))
    aliases = {name: _aliases(platform, name) for name in {version.registered.model for version in found}}
    if json:
        print_json({"versions": [as_dict(version) for version in found]})
        return
    if not found:
        console.print(f"No version reads {escape(view)}.")
        return
    rows = [_row(version, view, aliases[version.registered.model]) for version in found]
    table("version", "serves as", "owner", "inputs", "definition", rows=rows)


def _versions(platform: Connection, view: str) -> Iterator[registry.Version]:
    token = ""
    while True:
        page = platform.registry.SearchVersions(registry.SearchVersionsRequest(feature_view=view, page_token=token))
        yield from page.versions
        token = page.next_page_token
        if not token:
            return


def _aliases(platform: Connection, model: str) -> dict[int, list[str]]:
    known = platform.registry.GetModel(registry.GetModelRequest(model=model)).model
    by_version: dict[int, list[str]] = {}
    for alias in known.aliases:
        by_version.setdefault(alias.version, []).append(alias.name)
    return by_version


def _row(version: registry.Version, view: str, aliases: dict[int, list[str]]) -> list[str]:
    made = version.registered
    read: events.FeatureView = next(one for one in made.feature_views if one.name == view)
    serves = ", ".join(aliases.get(made.version, [])) or ("retired" if version.retired else "nowhere")
    return [f"{made.model}@{made.version}", serves, made.owner, ", ".join(read.inputs), read.digest[:12]]
