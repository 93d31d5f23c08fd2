"""Pages: where the page before ended.

A token is opaque to whoever holds it: the last entry's key and the question that it answers, so that a token of
another question is refused rather than misread.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

from services.chassis.errors import Invalid

_LARGEST_KEY: Final = 2**63 - 1  # what PostgreSQL's bigint holds


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was asked for: how many entries, and the key after which it starts (None: the first page)."""

    size: int
    after: tuple[Any, ...] | None
    question: str

    def token(self, last: tuple[Any, ...]) -> str:
        """The token for the page after the entry of that key."""
        return base64.urlsafe_b64encode(json.dumps([self.question, *last]).encode()).decode().rstrip("=")


def page_of(size: int, token: str, *, question: str, key: tuple[type, ...]) -> Page:
    """The page that somebody asked for.

    Args:
        size: How many entries, as `page_size` lets through.
        token: What the page before gave; empty for the first page.
        question: What is asked, with everything that narrows it.
        key: The types of an entry's key.

    Raises:
        Invalid: the token isn't one of this question's.
    """
    return Page(size, _after(token, question, key) if token else None, question)


def _after(token: str, question: str, key: tuple[type, ...]) -> tuple[Any, ...]:
    try:
        asked, *last = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        asked, last = None, []
    if asked != question or tuple(type(part) for part in last) != key or not all(map(_keepable, last)):
        raise Invalid(
            "the page token isn't one that this question gave", where="page_token", fix="ask for the first page"
        )
    return tuple(last)


def _keepable(part: Any) -> bool:
    return "\x00" not in part if isinstance(part, str) else abs(part) <= _LARGEST_KEY
