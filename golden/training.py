"""Runs a project's notebook from start to end, and finds the MLflow run that it made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from golden.sdk import ARTIFACT_ROOT
from services.chassis.errors import Invalid

_RUN: Final = re.compile(r"\brun ([0-9a-f]{32})\b")
_LAST_LINES: Final = 12  # of a failed notebook: the cell's error, and the line that raised it


@dataclass
class Training:
    """A notebook that is being run in a process of its own.

    Args:
        process: The process.
        output: The notebook with what its cells printed.
    """

    process: subprocess.Popen[str]
    output: Path

    def run_id(self) -> str:
        """Wait for the end; the MLflow run that the notebook printed.

        Raises:
            Invalid: a cell failed, or no run was made.
        """
        printed, _ = self.process.communicate()
        if self.process.returncode:
            lines = "\n".join(printed.splitlines()[-_LAST_LINES:])
            raise Invalid(f"a cell failed:\n{lines}", where=self.output.name)
        found = _RUN.findall("\n".join(_texts(self.output)))
        if not found:
            raise Invalid(
                "the notebook made no run", where=self.output.name, fix='let its last cell print "run RUN_ID"'
            )
        return str(found[-1])

    def stop(self) -> None:
        """End it where it still goes on; the notebook's kernel ends with it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate()


def start(
    notebook: Path, output: Path, *, parameters: Mapping[str, object], tracking: str, artifacts: Path
) -> Training:
    """Begin to run a notebook.

    Args:
        notebook: The notebook; its cell tagged `parameters` is followed by these.
        output: Where the notebook with its results goes.
        parameters: Values by name.
        tracking: MLflow's tracking URI.
        artifacts: The folder of new experiments' artifacts.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    given = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        "--log-level",
        "ERROR",
        "--cwd",
        str(notebook.parent),
    ]
    process = subprocess.Popen(  # noqa: S603 - the command is ours, its parameters the caller's
        [*command, *given, str(notebook), str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment(tracking, artifacts),
    )
    return Training(process, output)


def environment(tracking: str, artifacts: Path | None) -> dict[str, str]:
    """What a process that trains finds in its environment: ours, and where MLflow is."""
    made = os.environ | {
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing of this machine calls out
    }
    return made if artifacts is None else made | {ARTIFACT_ROOT: str(artifacts)}


def _texts(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(output.get("text", ())) for cell in cells for output in cell.get("outputs", ())]
