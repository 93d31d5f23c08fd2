"""Writes the services' OpenAPI documents: `python protos/openapi.py [FOLDER]`, by default into docs/openapi.

They come from the routes themselves, so they can't say anything else than the services do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter

from services.chassis import operations
from services.chassis.http_server import create_app
from services.deployer import http_api as deployer
from services.governance import http_api as governance
from services.monitor import http_api as monitor
from services.monitor import kserve_api
from services.registry import http_api as registry

FOLDER: Final = Path(__file__).parents[1] / "docs" / "openapi"
_NOTHING: Final[Any] = None  # a route's description needs none of what the route will work with


def routers() -> Mapping[str, Sequence[APIRouter]]:
    """By service, its own routes."""
    return {
        "registry": [registry.router(_NOTHING, _NOTHING)],
        "governance": [governance.router(_NOTHING, _NOTHING)],
        "deployer": [deployer.router(_NOTHING, url="")],
        "monitor": [monitor.router(_NOTHING, _NOTHING), kserve_api.router(_NOTHING, _NOTHING)],
    }


def document(service: str) -> str:
    """A service's OpenAPI document, as it is committed."""
    app = create_app(service, verifier=_NOTHING, checks={})
    for each in (*routers()[service], operations.router(_NOTHING, _NOTHING)):
        app.include_router(each)
    return json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n"


def main(folder: Path) -> None:
    """Write one file a service."""
    folder.mkdir(parents=True, exist_ok=True)
    for service in routers():
        (folder / f"{service}.json").write_text(document(service))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
