"""What is broken on purpose, so that the demo must fail: one that can't fail would show nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from golden.demo.story import Story
from goldenpath.governance.v1 import governance_service_pb2 as governance
from services.chassis.errors import Invalid

SABOTAGES: Final = ("governance-down", "artifact-byte", "verdict-revoked", "monitor-stopped")


class Sabotage:
    """The one that was asked for on the command line.

    Args:
        name: One of SABOTAGES; empty: none.
    """

    def __init__(self, name: str) -> None:
        if name and name not in SABOTAGES:
            raise Invalid(f"there is no sabotage {name!r}", where="--sabotage", fix=f"one of {', '.join(SABOTAGES)}")
        self._name = name

    def strike(self, name: str, how: Callable[[], object]) -> None:
        """Break it now, where this is the one that was asked for."""
        if name == self._name:
            how()


def change_a_byte(artifact: Path) -> None:
    """Change one byte of a registered artifact's model file."""
    model = next(path for path in sorted(artifact.rglob("model.*")) if path.is_file())
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o644)
    model.write_bytes(bytes(content))


def revoke_in_canary(story: Story, version: int) -> None:
    """Take a version's approval back while it has a part of the traffic."""
    story.in_canary(version)
    request = governance.RevokeRequest(model=story.model, version=version, reason="sabotage")
    story.reviewer.governance.Revoke(request)
