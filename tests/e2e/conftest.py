"""One whole platform for the end-to-end tests, as `golden up` starts it, with a tiny model trained in many versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.world import World, started

VERSIONS = 6


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The platform, with every run trained."""
    with started(VERSIONS) as world:
        yield world
