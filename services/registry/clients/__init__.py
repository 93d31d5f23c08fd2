"""Whom the registry asks: MLflow, in a process of its own, and the deployer."""

from __future__ import annotations

from typing import Protocol

from services.registry.handlers import ImportedRun


class Runs(Protocol):
    """Where a run's model is brought from."""

    async def bring(self, run: str) -> ImportedRun:
        """Bring a run's model into the artifact store.

        Raises:
            NotFound: there is no such run.
            Invalid: the run has no model, or one that can't be kept.
            Unavailable: it can't be had now.
        """
        ...


class Serving(Protocol):
    """Whoever knows what serves."""

    async def of_version(self, model: str, version: int) -> list[str]:
        """The environments in which a version serves, or to which it would come back.

        Raises:
            Unavailable: nobody answers.
        """
        ...
