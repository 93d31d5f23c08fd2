"""The fault campaign: make faults ARGS="--seed 7 --steps 200".

Lives of models run through the real services, Kafka and PostgreSQL while an adversary does one thing after another;
after each, and at the end, the checker proves that nothing was lost, done twice, or done on stale news. The same seed
gives the same faults at the same lives. A failing run says its seed, and keeps topics, databases and logs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from tests.faults.plan import Fault

if TYPE_CHECKING:
    from tests.faults.campaign import Settings


def main() -> None:
    """Run a campaign; the exit status says whether every promise held."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of every choice (default 7)")
    parser.add_argument(
        "--steps", type=int, default=len(Fault), help="faults, one after another (default: one of each kind)"
    )
    parser.add_argument("--replicas", type=int, default=1, choices=(1, 2), help="of each service (default 1)")
    parser.add_argument("--keep", action="store_true", help="keep topics, databases and logs although all is well")
    given = parser.parse_args()
    # PostgreSQL gets a user of its own, for which Python forks; gRPC's handlers, inside, now and then kill the child.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    from tests.faults.campaign import Settings

    for talkative in (
        "aiokafka",
        "asyncio",
    ):  # every broken connection, at length: breaking them is what we are here for
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(_run(Settings(given.seed, given.steps, given.replicas, keep=given.keep))))


async def _run(settings: Settings) -> int:
    from tests.faults.campaign import Campaign

    running = asyncio.ensure_future(Campaign(settings).run())
    for number in (signal.SIGTERM, signal.SIGINT):  # who ends it early leaves nothing running
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return 1


if __name__ == "__main__":
    main()
