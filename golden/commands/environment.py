"""What a notebook or script needs to know of this machine's platform, as a shell takes it."""

from __future__ import annotations

import shlex
import sys

from golden.output import Json, print_json
from services.chassis.errors import Unavailable


def env(*, json: Json = False) -> None:
    """Print where a notebook finds MLflow, and the feature store, on this platform:  eval "$(golden env)"."""
    from golden.embedded import platform
    from golden.sdk import ARTIFACT_ROOT

    running = platform.attach_quietly()
    if running is None:
        raise Unavailable("no platform is running here", fix="golden up")
    found = {"MLFLOW_TRACKING_URI": running.endpoints().tracking, ARTIFACT_ROOT: str(running.folders.mlflow)}
    if running.state.features:
        found["FEAST_FS_YAML_FILE_PATH"] = str(running.folders.feature_store)  # where Feast looks, told nothing else
    if json:
        print_json(found)
        return
    for name, value in found.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
