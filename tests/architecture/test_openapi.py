"""The committed OpenAPI documents are what the services' routes say."""

from __future__ import annotations

import pytest

from protos import openapi


@pytest.mark.parametrize("service", ["registry", "governance", "deployer", "monitor"])
def test_the_committed_openapi_document_is_current(service: str) -> None:
    assert (openapi.FOLDER / f"{service}.json").read_text() == openapi.document(service)


def test_every_service_with_routes_has_a_document() -> None:
    assert {path.stem for path in openapi.FOLDER.glob("*.json")} == set(openapi.routers())
