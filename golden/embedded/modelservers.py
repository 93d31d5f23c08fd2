"""Ends the model servers that the deployer's local runtime started.

They outlive the deployer by design, so the platform's end has to look for them: the runtime writes a file per process,
`<pid>.json` with pid and started_at. A file whose process is gone, or whose pid is somebody else's by now, is only
removed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from golden.embedded.processes import Running, stop_together

_GRACE = timedelta(seconds=25)  # ten seconds for requests under way, ten for the last records, and some air


def running(folder: Path) -> list[Running]:
    """The model servers that this folder names and that still run."""
    found = []
    for file in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, KeyError):  # half written, or removed meanwhile: no process to be sure of
            stored = json.loads(file.read_text())
            found.append(Running(int(stored["pid"]), float(stored["started_at"])))
    return [process for process in found if process.alive()]


def stop_all(folder: Path) -> int:
    """Ask all of them to end, wait for each, and tell how many they were."""
    found = running(folder)
    stop_together(found, _GRACE)
    for file in folder.glob("*.json"):
        file.unlink(missing_ok=True)
    return len(found)
