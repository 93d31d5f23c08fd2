"""CEL expressions over the facts: compiled once, checked when a policy is applied, evaluated without surprises.

The engine is the reference implementation (cel-expr-python wraps cel-cpp). It reports a missing key or a division by
zero as a value, not as an exception; here that is `Unknown`, and never passes for true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from services.chassis.errors import Invalid
from services.governance.domain.facts import VOCABULARY

_LONGEST: Final = 2_000  # characters; the longest shipped expression has 170
_ENVIRONMENT: Final = cel.NewEnv(
    variables={name: cel.Type(kind) for name, kind in VOCABULARY.items()} | {"given": cel.Type("map<string, dyn>")},
    extensions=[ext_strings.ExtStrings()],
)
ANY: Final = "any"
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")


@dataclass(frozen=True, slots=True)
class Unknown:
    """An expression had no answer.

    Args:
        why: In a sentence.
    """

    why: str


class Expression:
    """A compiled expression.

    Args:
        source: The expression.
        returns: What it must return: bool, int, list (of strings) or ANY.
        where: Its place in the policy, for errors.

    Raises:
        Invalid: it doesn't compile, names an unknown fact, or returns something else.
    """

    def __init__(self, source: str, *, returns: str, where: str) -> None:
        if len(source) > _LONGEST:
            raise Invalid(f"the expression is longer than {_LONGEST} characters", where=where)
        try:
            self._compiled = _ENVIRONMENT.compile(source)
        except RuntimeError as error:
            raise Invalid(_sentence(str(error)), where=where) from None
        found = self._compiled.return_type()
        if returns != ANY and found.name().partition("<")[0].lower() not in {"dyn", returns}:
            raise Invalid(f"the expression gives a {found.name().lower()}, not a {returns}", where=where)
        self._returns = returns

    def evaluate(self, values: Mapping[str, Any]) -> Any | Unknown:
        """The expression's value under these facts; Unknown where it has none, or one of another type."""
        result = self._compiled.eval(data=values)
        if result.type() in (cel.Type.ERROR, cel.Type.UNKNOWN):
            return Unknown(str(result.value()).partition(": ")[2] or str(result.value()))
        value = result.plain_value()
        if not _fits(value, self._returns):
            return Unknown(f"it gave {value!r}, and a {self._returns} is needed")
        return value


class Sentence:
    """A sentence with expressions in braces, such as "{model.name} has no owner"; a list is joined with commas.

    Args:
        template: The sentence.
        where: Its place in the policy, for errors.

    Raises:
        Invalid: an expression in it doesn't compile, or a brace is left alone.
    """

    def __init__(self, template: str, *, where: str) -> None:
        pieces = _PLACEHOLDER.split(template)
        if any("{" in piece or "}" in piece for piece in pieces[::2]):
            raise Invalid("a brace has no partner", where=where)
        self._texts = pieces[::2]
        self._expressions = [Expression(source, returns=ANY, where=where) for source in pieces[1::2]]

    def fill(self, values: Mapping[str, Any]) -> str:
        """The sentence for these facts; what can't be known is an ellipsis in it."""
        said = [_said(expression.evaluate(values)) for expression in self._expressions]
        return "".join(text + filled for text, filled in zip(self._texts, [*said, ""], strict=True))


def _said(value: Any) -> str:
    if isinstance(value, Unknown):
        return "…"
    if isinstance(value, list):
        return ", ".join(_said(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fits(value: Any, kind: str) -> bool:
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return kind == ANY or type(value) is {"bool": bool, "int": int}[kind]


def _sentence(message: str) -> str:
    """The engine's first complaint, with its place in the expression."""
    found = _PLACE.search(message)
    return f"{found[3]} (line {found[1]}, column {found[2]})" if found else message.splitlines()[0]
