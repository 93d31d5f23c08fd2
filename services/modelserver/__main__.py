"""Starts a model server: `python -m services.modelserver`, told by GOLDENPATH_ variables."""

from __future__ import annotations

import asyncio
import sys

from services.chassis.errors import GoldenpathError
from services.modelserver.app import run


def main() -> int:
    """Run on uvloop where it is installed; the process's exit status."""
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        return runner.run(run())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GoldenpathError as error:
        sys.exit(f"can't serve: {error}")
