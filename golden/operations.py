"""Asking a service's HTTP interface, where it has what gRPC has not: readiness, dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.chassis.errors import Conflict, Denied, GoldenpathError, Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    import httpx

    from golden.connection import Connection

_TIMEOUT_S: Final = 10.0
_ERRORS: Final[dict[int, type[GoldenpathError]]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


def ask(
    platform: Connection,
    service: str,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> Any:
    """A service's answer, as JSON.

    Raises:
        Unavailable: it doesn't answer, or nobody said where it is.
        GoldenpathError: what it answers instead.
    """
    import httpx

    url = platform.endpoints.http.get(service, "")
    if not url:
        raise Unavailable(f"nobody said where the {service} has HTTP", fix=f"set GOLDEN_{service.upper()}_HTTP")
    headers = {"authorization": f"Bearer {platform.token()}"}
    try:
        answer = httpx.request(method, url.rstrip("/") + path, json=body, headers=headers, timeout=timeout_s)
    except httpx.HTTPError as error:
        raise Unavailable(f"the {service} at {url} doesn't answer: {error}", fix="golden status") from None
    document = _document(answer)
    if answer.is_error or document is None:
        raise _error(service, answer, document)
    return document


def _document(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _error(service: str, answer: httpx.Response, problem: Any) -> GoldenpathError:
    said = problem if isinstance(problem, dict) else {}
    what = said.get("detail") or f"the {service} answered {answer.status_code} {answer.reason_phrase}"
    kind = _ERRORS.get(answer.status_code, Unavailable)
    return kind(what, where=said.get("where", ""), fix=said.get("fix", "") or "golden doctor")
