"""Names, digests and numbers as the registry takes them, each refused with the place where it stood."""

from __future__ import annotations

import math
import re
from typing import Final

from services.chassis.errors import Invalid

_MODEL: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DATASET: Final = re.compile(r"[a-z0-9-]{1,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_TEXT: Final = 10_000  # characters: two pages, for a field that holds a sentence or an answer
_LARGEST_NUMBER: Final = 2**31 - 1  # what PostgreSQL's integer holds


def model_name(name: str, *, where: str = "model") -> str:
    """The name, if it is one that a model may have.

    Raises:
        Invalid: it isn't.

    >>> model_name("credit-prescreen")
    'credit-prescreen'
    """
    if not _MODEL.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no model name: 1 to 63 of a-z, 0-9 and -, starting with a letter", where=where)
    return name


def dataset_name(name: str, *, where: str = "name") -> str:
    """The name, if it is one that a dataset may have.

    Raises:
        Invalid: it isn't.
    """
    if not _DATASET.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no dataset name: 1 to 63 of a-z, 0-9 and -", where=where)
    return name


def digest(text: str, *, where: str) -> str:
    """The text, if it is a SHA-256 digest.

    Raises:
        Invalid: it isn't.
    """
    if not _DIGEST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is no SHA-256 digest: 64 hex digits in lower case", where=where)
    return text


def text(value: str, *, where: str) -> str:
    """The text without white space around it, if it can be kept.

    Raises:
        Invalid: it holds a NUL, or is longer than two pages.
    """
    if "\x00" in value or len(value) > _LONGEST_TEXT:
        raise Invalid(f"longer than {_LONGEST_TEXT:,} characters, or with a NUL in it", where=where)
    return value.strip()


def finite(value: float, *, where: str) -> float:
    """The number, if it is finite.

    Raises:
        Invalid: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise Invalid(f"{value} is not a finite number", where=where)
    return value


def version_number(number: int, *, where: str = "version") -> int:
    """The number, if a version could have it; 0 stands for the newest.

    Raises:
        Invalid: it is below 0, or larger than any version's.
    """
    if not 0 <= number <= _LARGEST_NUMBER:
        raise Invalid(f"{number} is no version's number", where=where)
    return number
