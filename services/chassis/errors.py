"""The errors that the suite raises, each named after the fate of what caused it.

    GoldenpathError
    ├── Invalid        what was sent is wrong, and sending it again won't help
    ├── Denied         the sender may not do this
    ├── NotFound       what it refers to isn't there (yet)
    ├── Conflict       what it refers to is in the wrong state
    └── Unavailable    something that everybody shares is down
        └── TooSlow    it is there, and took longer than it may

An error holds no transport code. One table for each kind of edge turns its type into a gRPC status, an HTTP
status, or what a consumer does with the event: `grpc_errors.STATUS`, `http_server.STATUS`, `fates.FATES`.
"""

from __future__ import annotations


class GoldenpathError(Exception):
    """Something that the suite foresees going wrong.

    Args:
        what: What is wrong, in a sentence that a person can act on; it is shown to whoever asked.
        where: The place of it: a field's path, a file and line, a name. Empty where the sentence says it.
        fix: What to do next, as an imperative. Empty where nothing can be done from outside.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f" ({self.fix})" if self.fix else "")


class Invalid(GoldenpathError):
    """What was sent is wrong in itself. Sending it again changes nothing."""


class Denied(GoldenpathError):
    """The sender is unknown, or isn't allowed to do this."""


class NotFound(GoldenpathError):
    """One thing that was referred to isn't there; it may come."""


class Conflict(GoldenpathError):
    """One thing that was referred to is in a state that doesn't allow this; the state may change."""


class Unavailable(GoldenpathError):
    """A dependency that everything shares doesn't answer. Nothing is wrong with what was sent."""


class TooSlow(Unavailable):
    """An answer took longer than whoever asked, or the service itself, lets it."""
