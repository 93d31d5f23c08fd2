"""What the services really emit is what topics.py, AsyncAPI and the catalogue promise, and nothing is only planned."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from services.chassis.topics import RECORDS, EventType
from tests.architecture.emitted import emitted_by, topic_of
from tests.architecture.tree import ROOT, SERVICES

DOCS = ROOT / "docs" / "events"


def for_others() -> list[EventType]:
    """What other systems may put on the topic of records, and a service on behalf of one that can't."""
    return [one for one in RECORDS.types if "ingest" in one.schema]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_a_service_emits_stands_on_its_topic_with_its_body(service: str) -> None:
    promised = {(one.name, one.schema.rpartition(".")[2]) for one in (*topic_of(service).types, *for_others())}
    emitted = emitted_by(service)

    assert emitted
    assert [one for one in sorted(emitted) if (one.type, one.message) not in promised] == []


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_stands_on_a_services_topic_is_emitted_by_it(service: str) -> None:
    emitted = {one.type for one in emitted_by(service)}
    # What other systems may put there has a body of the ingest package; only event.rejected is told to them.
    its_own = [
        one.name for one in topic_of(service).types if "ingest" not in one.schema or one.name == "event.rejected"
    ]

    assert [name for name in its_own if name not in emitted] == []


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_a_service_emits_is_published(service: str, published: dict[str, Any]) -> None:
    catalogue, messages = (DOCS / "README.md").read_text(), published["components"]["messages"]

    for one in emitted_by(service):
        topic = RECORDS if one.type in {each.name for each in for_others()} else topic_of(service)
        assert one.type in published["channels"][topic.name]["messages"], one
        assert messages[one.type]["payload"]["$ref"].endswith(f".{one.message}"), one
        assert f"### {one.type}\n" in catalogue, one
