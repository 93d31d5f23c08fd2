"""What golden.yaml runs when a new version is asked for: the data as they are by now, and the notebook on them.

A bank would read its table of payments. Here the month after the data is simulated, in which a scenario goes on that no
version has seen; both it and what the data were before stand in `data/transactions.parquet` afterwards, so the version
is registered with new data under the old name.

    python -m examples.fraud.retrain        # in the project's folder, or a copy of it
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from examples.fraud.scenarios import Scenario
from examples.fraud.simulator import DOCUMENTED, simulate
from examples.fraud.traffic import DAYS, outbreak_of

HELD_OUT: Final = 10
"""Days that judge the new version: few, so that it is trained on as much of what is new as can be."""


def main() -> None:
    """Write the data, and train on them."""
    folder = Path.cwd()
    data = folder / "data" / "transactions.parquet"
    data.unlink(missing_ok=True)  # which may be a link to a file that isn't ours to change
    world = replace(DOCUMENTED, days=DOCUMENTED.days + DAYS)
    simulate(world, outbreak_of(Scenario.IN_THE_CROWD)).to_parquet(data, index=False, compression="zstd")
    parameters = {"version": 2, "data": data, "held_out_days": HELD_OUT}
    given = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    notebook = [str(folder / "train.ipynb"), "/dev/null", "--cwd", str(folder), "--no-progress-bar"]
    ended = subprocess.run([sys.executable, "-m", "papermill", *notebook, *given], check=False)  # noqa: S603 - all ours
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
