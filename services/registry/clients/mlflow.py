"""Bringing an MLflow run into the artifact store.

MLflow is read by a process of its own (`mlflow_reader`), started at the first run and ended when none has come for a
while: importing mlflow costs 4 to 5 s and 220 MiB (measured, 3.17.2 with a database URI), which the registry would
otherwise hold for ever, to use it for a second a day. Nor can a run that is huge, or breaks the reader, hurt the
registry: it answers on a deadline, and the reader is replaced.

The reader copies the model's files into a staging folder of the artifact store and answers with one JSON line. What
it found is then only described here; the files' digest is the store's own work.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis import telemetry
from services.chassis.errors import GoldenpathError, Invalid, NotFound, Unavailable
from services.registry.artifacts import Artifact, ArtifactStore
from services.registry.domain.versions import Brought
from services.registry.handlers import ImportedRun

_READER: Final = "services.registry.clients.mlflow_reader"
_LONGEST_ANSWER_BYTES: Final = 32 * 1024 * 1024  # a profile has up to 4 MiB, a signature of 10,000 columns 1 MiB
_ERRORS: Final[Mapping[str, type[GoldenpathError]]] = {
    "Invalid": Invalid,
    "NotFound": NotFound,
    "Unavailable": Unavailable,
}


class MlflowRuns:
    """The runs of an MLflow, as versions to be.

    Args:
        artifacts: Where the files go.
        tracking_uri: Where MLflow keeps its runs.
        timeout: How long one run may take.
        idle: How long the reader stays after its last run.
    """

    def __init__(self, artifacts: ArtifactStore, *, tracking_uri: str, timeout: timedelta, idle: timedelta) -> None:
        self._artifacts = artifacts
        self._tracking_uri = tracking_uri
        self._timeout = timeout
        self._idle = idle
        self._turn = asyncio.Lock()
        self._reader: Process | None = None
        self._ending: asyncio.TimerHandle | None = None

    async def bring(self, run: str) -> ImportedRun:
        """Bring a run's model into the artifact store.

        Raises:
            NotFound: MLflow has no such run.
            Invalid: the run has no model, or one that can't be kept.
            Unavailable: MLflow doesn't answer, or not in time.
            RuntimeError: the run broke the reader; another one may fare better.
        """
        with telemetry.span(f"bring {run}"), self._artifacts.staging() as staging:
            found = await self._ask({"run": run, "folder": str(staging.files)})
            artifact = await asyncio.to_thread(staging.seal)
        return _imported(found, artifact)

    async def stop(self) -> None:
        """End the reader."""
        if self._ending is not None:
            self._ending.cancel()
        reader, self._reader = self._reader, None
        if reader is not None and reader.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()

    async def _ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        # Whoever gives up, such as at a call's deadline, before it is their turn leaves nothing in the queue: or else
        # those who try again would wait behind what nobody waits for. An exchange that has begun goes on, so that the
        # reader, which took seconds to start, is there and in step then.
        await self._turn.acquire()
        exchange = asyncio.ensure_future(self._exchange(question))
        exchange.add_done_callback(self._next)
        answer: dict[str, Any] = json.loads(await asyncio.shield(exchange))
        if "error" in answer:
            if answer["error"] not in _ERRORS:
                raise RuntimeError(f"the reader of MLflow failed: {answer['what']}")
            raise _ERRORS[answer["error"]](answer["what"], where=answer["where"], fix=answer["fix"])
        return answer

    async def _exchange(self, question: Mapping[str, str]) -> bytes:
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                line = await self._answer(question)
        except TimeoutError:
            await self.stop()
            raise Unavailable(f"MLflow didn't answer within {self._timeout.total_seconds():g} s") from None
        except OSError as error:
            await self.stop()
            raise Unavailable(f"the reader of MLflow can't be reached: {error}") from error
        except ValueError:
            await self.stop()
            raise Invalid("what the run says of itself is larger than 32 MiB", where="mlflow_run") from None
        if not line:
            await self.stop()
            raise RuntimeError("the reader of MLflow died over a run")
        self._end_later()
        return line

    def _next(self, exchange: asyncio.Future[bytes]) -> None:
        """Let the next one ask, and look at how the exchange ended, should nobody be left who does."""
        self._turn.release()
        if not exchange.cancelled():
            exchange.exception()

    async def _answer(self, question: Mapping[str, str]) -> bytes:
        reader = await self._started()
        if reader.stdin is None or reader.stdout is None:
            return b""
        reader.stdin.write(json.dumps(dict(question)).encode() + b"\n")
        await reader.stdin.drain()
        return await reader.stdout.readline()

    async def _started(self) -> Process:
        if self._ending is not None:
            self._ending.cancel()
        if self._reader is None or self._reader.returncode is not None:
            self._reader = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _READER, stdin=PIPE, stdout=PIPE, limit=_LONGEST_ANSWER_BYTES
            )
            if self._reader.stdin is not None:
                # Not as an argument, which everybody on the machine could read: it may hold a password.
                self._reader.stdin.write(self._tracking_uri.encode() + b"\n")
        return self._reader

    def _end_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._ending = loop.call_later(self._idle.total_seconds(), self._end)

    def _end(self) -> None:
        if self._reader is not None and self._reader.stdin is not None:
            self._reader.stdin.close()  # the end of its input is the end of the reader
        self._reader = None


def _imported(found: Mapping[str, Any], artifact: Artifact) -> ImportedRun:
    profile = base64.b64decode(found["profile"])
    committed = found["commit_time"]
    brought = Brought(
        artifact_digest=artifact.digest,
        files=artifact.files,
        flavor=found["flavor"],
        signature_json=found["signature_json"],
        input_example_json=found["input_example_json"],
        requirements=tuple(found["requirements"]),
        metrics=found["metrics"],
        code_revision=found["code_revision"],
        commit_time=datetime.fromisoformat(committed) if committed else None,
        profile_digest=hashlib.sha256(profile).hexdigest() if profile else "",
        reference_log_loss=float(found["reference_log_loss"]),
    )
    return ImportedRun(brought, profile, seasonal=found["seasonal"])
