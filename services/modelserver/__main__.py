"""Starts a model server: `python -m services.modelserver`, told by GOLDENPATH_ variables.

Numeric libraries get one thread each, unless the environment says otherwise. They divide even a single row's work among
a thread per core, and those wait for each other in busy loops: on two cores with other work, one row of a hundred
boosted trees took 62 ms of CPU time with two threads, and 7.5 ms with one. A server that needs more is replicated.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from services.chassis.errors import GoldenpathError

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run on uvloop where it is installed; the process's exit status."""
    for variable in _THREADS:
        os.environ.setdefault(variable, "1")
    from services.modelserver.app import run  # only now: numpy reads the variables when it is imported

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
