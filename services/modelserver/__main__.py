"""Starts a model server: `python -m services.modelserver`, told by GOLDENPATH_ variables."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from services.chassis.errors import GoldenpathError

# Rows come one or a few at a time: a pool of threads for them took 30 ms where one thread took 6 (boosted trees, two
# busy cores). Whoever serves large batches sets the variable.
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run on uvloop where it is installed; the process's exit status."""
    for variable in _ONE_THREAD:
        os.environ.setdefault(variable, "1")
    from services.modelserver.app import run  # numeric libraries read the variables when they are imported

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
