"""Who is asking: JSON Web Tokens (OIDC) on HTTP and gRPC, and what each role may do.

A token is checked against a set of public keys, its issuer and its audience. An actor comes from here, and from
nowhere else: what an event on somebody else's topic says of its actor is a claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import jwt

from services.chassis.errors import Denied
from services.chassis.keys import PublicKeys

_ALGORITHMS = ["ES256", "RS256"]  # asymmetric only: whoever can check a token must not be able to make one


class Role(StrEnum):
    """What a caller may do; a token names any number of them."""

    SCIENTIST = "scientist"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    SERVICE = "service"


class Unauthenticated(Denied):
    """Nobody knows who is asking: the token is missing, expired, or not ours."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, as a verified token says.

    Args:
        subject: The token's subject, such as ada@bank.example.
        roles: What they may do.
    """

    subject: str
    roles: frozenset[Role]

    def require(self, *allowed: Role) -> Caller:
        """Let the caller through with any of these roles.

        Raises:
            Denied: they have none of them.
        """
        if not self.roles.intersection(allowed):
            wanted = " or ".join(allowed)
            raise Denied(f"{self.subject} may not do this: it takes the role {wanted}", fix=f"ask a {wanted}")
        return self


class TokenVerifier:
    """Checks tokens against a file of public keys, and reads the file again when it changes.

    Args:
        jwks_path: The JSON Web Key Set.
        issuer: The issuer that a token must name.
        audience: The audience that a token must name.
    """

    def __init__(self, jwks_path: Path, *, issuer: str, audience: str) -> None:
        self._keys = PublicKeys(jwks_path)
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str) -> Caller:
        """Who a token belongs to.

        Raises:
            Unauthenticated: it is missing, malformed, expired, for somebody else, or signed by another key.
            Unavailable: the keys can't be read.
        """
        if not token:
            raise Unauthenticated("no token came with the request", fix="send  authorization: Bearer TOKEN")
        try:
            known = self._keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            if known is None:
                raise Unauthenticated("the token was signed by a key that isn't ours", fix="get a new one")
            claims = jwt.decode(
                token,
                known.key,
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired", fix="get a new one") from None
        except (jwt.PyJWTError, RecursionError) as error:
            raise Unauthenticated(f"the token is not valid: {error}", fix="get a new one") from None
        return Caller(str(claims["sub"]), _roles(claims.get("roles")))


def _roles(claim: object) -> frozenset[Role]:
    """The roles that a claim names; what isn't one of ours gives no right."""
    named = claim if isinstance(claim, list) else []
    return frozenset(role for role in Role if role.value in named)


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


@contextmanager
def acting(caller: Caller) -> Iterator[None]:
    """Make somebody the caller of all that runs within."""
    before = _caller.get()
    _caller.set(caller)
    try:
        yield
    finally:
        # Not by the token that `set` gave: a stream that its client left is closed in another context.
        _caller.set(before)


def caller() -> Caller:
    """Who is asking, inside a request.

    Raises:
        Unauthenticated: nobody is; a server lets no such request through.
    """
    found = _caller.get()
    if found is None:
        raise Unauthenticated("no token came with the request")
    return found


def bearer(value: str) -> str:
    """The token inside an authorization header's value; empty where there is none."""
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
