"""This interpreter against the version's requirements: a model is not run on packages that it was not trained with.

Every line of the artifact's requirements.txt must be satisfied by what is installed here. All that are not
are named at once, with what was wanted and what was found, so that one attempt is enough to repair an
environment.

MLflow writes itself into the requirements of every model that it logs. Nothing of it takes part in a
prediction by a flavour that is loaded without it, so for those it may be missing, whatever its version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from services.chassis.errors import Conflict, Invalid

MLFLOW: Final = frozenset({"mlflow", "mlflow-skinny"})
_STAND_INS: Final = {"mlflow": "mlflow-skinny"}  # the same code, without the parts that no model needs


def requirements_of(files: Path) -> list[str]:
    """The requirements of an artifact, sorted, each once, without comments and options; none without the file."""
    path = files / "requirements.txt"
    if not path.exists():
        return []
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sorted({line for line in lines if line and not line.startswith("-")})


def digest_of(requirements: Iterable[str]) -> str:
    """The environment's digest: SHA-256 over the sorted requirements, one a line, as 64 hex digits."""
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(requirements)).encode()).hexdigest()


def satisfy(requirements: Iterable[str], *, without: frozenset[str] = frozenset()) -> None:
    """Check that this interpreter has what the requirements ask for.

    Args:
        requirements: such as `scikit-learn==1.6.1`; one whose marker doesn't fit here is skipped.
        without: packages, by canonical name, that may be missing.

    Raises:
        Conflict: at least one package is missing or of another version; each is named.
        Invalid: a line is no requirement.
    """
    gaps = [gap for line in requirements if (gap := _gap(_parsed(line), without))]
    if gaps:
        raise Conflict(
            "this environment does not satisfy the version: " + "; ".join(gaps),
            where="requirements.txt",
            fix="install what is wanted, or serve from an image that was built for the version",
        )


def _parsed(line: str) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise Invalid(f"{line!r} is no requirement", where="requirements.txt") from error


def _gap(wanted: Requirement, without: frozenset[str]) -> str:
    if canonicalize_name(wanted.name) in without or (wanted.marker and not wanted.marker.evaluate()):
        return ""
    found = _found(wanted.name)
    if found and wanted.specifier.contains(found, prereleases=True):
        return ""
    return f"{wanted.name}: wanted {wanted.specifier or 'any version'}, found {found or 'none'}"


def _found(name: str) -> str:
    for installed in (name, _STAND_INS.get(canonicalize_name(name), name)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(installed)
    return ""
