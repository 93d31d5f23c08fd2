"""Apache Kafka's jars, fetched once by Maven coordinates and kept.

`kafka-jars.txt` beside this module is the lock: every jar with the SHA-256 of its bytes. So a laptop downloads the
named files and nothing else, no dependency is resolved anew, and a jar with other bytes is refused. After a new
Kafka version: change `COORDINATES` and `_KAFKA`, then `python -m golden.embedded.jars` writes the lock.

The coordinates name kafka-clients themselves: left to itself jgo settles on an old one, and the broker dies of it.

The jars come to lie in one folder of the cache. They are gathered beside it and moved there in one step under a
lock, so that two processes at once, or a crash half way, leave either everything or nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from services.chassis.errors import Unavailable

if TYPE_CHECKING:
    from jgo.maven import MavenContext

COORDINATES = (
    "org.apache.kafka:kafka_2.13:4.4.0",
    "org.apache.kafka:kafka-clients:4.4.0",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    "org.apache.logging.log4j:log4j-core:2.25.3",
)
_KAFKA = "kafka-4.4.0"
_LOCK = Path(__file__).with_name("kafka-jars.txt")
_AT_ONCE = 6  # downloads: as many as browsers open to one host
_SECONDS = 60  # for a connection to answer; the largest jar has 13 MB


def cache_folder() -> Path:
    """Where downloads are kept: GOLDEN_CACHE, else goldenpath in XDG_CACHE_HOME, else in ~/.cache."""
    if chosen := os.environ.get("GOLDEN_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "goldenpath"


def class_path(cache: Path | None = None, *, say: Callable[[str], None] = lambda _: None) -> str:
    """The class path of a Kafka broker; downloads the jars the first time, works offline from then on.

    Args:
        cache: Where the jars are kept; `cache_folder()` by default.
        say: Told what is being downloaded.

    Raises:
        Unavailable: a jar can't be had, or isn't the one that we know.
    """
    folder = (cache or cache_folder()) / _KAFKA
    if not folder.is_dir():
        with _alone(folder.with_name(f"{_KAFKA}.lock")):
            if not folder.is_dir():
                _gather(folder, say)
    return os.pathsep.join(str(jar) for jar in sorted(folder.glob("*.jar")))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _gather(folder: Path, say: Callable[[str], None]) -> None:
    wanted = [line.split() for line in _LOCK.read_text().splitlines()]
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        context, gathered = _maven(Path(beside) / "maven"), Path(beside) / "jars"
        gathered.mkdir()

        def fetch(jar: list[str]) -> None:
            coordinate, digest = jar
            shutil.move(_download(context, coordinate, digest), gathered)
            say(f"Kafka: {len(list(gathered.iterdir()))} of {len(wanted)} jars")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fetch, wanted))
        gathered.rename(folder)


def _download(context: MavenContext, coordinate: str, digest: str) -> Path:
    try:
        jar = context.create_dependency(coordinate).artifact.resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo says "not found" as a RuntimeError
        raise Unavailable(
            f"{coordinate} could not be downloaded: {error}",
            fix="connect once, or name a Maven mirror as central under [repositories] in ~/.config/jgo.conf",
        ) from error
    if hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
        raise Unavailable(
            f"{coordinate} came with other bytes than it should have", fix="try again, or check the mirror"
        )
    return jar


def _maven(repository: Path) -> MavenContext:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    mirrors = GlobalSettings.load().repositories
    return MavenContext(repo_cache=repository, remote_repos={"central": MAVEN_CENTRAL_URL} | mirrors, timeout=_SECONDS)


def _resolve() -> Iterator[str]:
    """The lock's lines: what the coordinates and their dependencies resolve to, as Maven Central has it today."""
    with tempfile.TemporaryDirectory() as repository:
        context = _maven(Path(repository))
        named = [context.create_dependency(coordinate) for coordinate in COORDINATES]
        for dependency in named:
            dependency.scope = "compile"
        named, others = context.resolver.resolve(named)
        for dependency in [*named, *(other for other in others if other.scope in {"compile", "runtime"})]:
            artifact = dependency.artifact
            digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
            yield f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {digest}"


if __name__ == "__main__":
    _LOCK.write_text("".join(f"{line}\n" for line in sorted(_resolve())))
