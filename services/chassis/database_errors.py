"""How the driver's errors become ours: who is at fault says which.

What the database can't hold is the sender's fault (Invalid), two changes at once are nobody's (Conflict: try again),
and a server that is down, full or too slow is everybody's (Unavailable). The rest is a bug, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from services.chassis.errors import Conflict, GoldenpathError, Invalid, Unavailable

_AT_ONCE: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_UNFIT: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
_DOWN: Final[tuple[type[Exception], ...]] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a session that the server has just ended, whose last words aren't read to the end
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    ConnectionError,
    TimeoutError,
)
PASSING: Final[tuple[type[Exception], ...]] = (
    *_AT_ONCE,
    *_DOWN,
)  # of the driver's errors, those that are over by themselves


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except GoldenpathError:
        raise
    except _AT_ONCE as error:
        raise Conflict("another change was made at the same time", fix="try again") from error
    except _UNFIT as error:
        raise Invalid("a text holds a character that can't be stored, such as NUL") from error
    except asyncpg.DiskFullError as error:
        raise Unavailable("the database's disk is full", fix="make room on it") from error
    except _DOWN as error:
        raise Unavailable(f"the database doesn't answer: {type(error).__name__}") from error
