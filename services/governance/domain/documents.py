"""Reading a YAML document that a person wrote: every complaint names its place, and YAML's traps are refused.

Refused: a key that stands twice (YAML silently keeps the last), anchors and aliases (a short text that unfolds into
gigabytes), keys that nobody reads (a misspelt `pases` would switch a rule off).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.chassis.errors import Invalid

LONGEST_BYTES: Final = 256 * 1024  # as the contract's ApplyPolicyRequest says
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases and without double keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # the stubs leave it out
            raise yaml.constructor.ConstructorError(None, None, "aliases aren't taken here", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the library's own signature
        keys = [key.value for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping inside a document.

    Args:
        content: What it holds.
        where: Its place, such as "default.yaml: rules[3]".
    """

    content: Mapping[str, Any]
    where: str

    def at(self, key: str) -> str:
        """The place of a key."""
        return f"{self.where}.{key}" if self.where.endswith("]") else f"{self.where}: {key}"

    def only(self, *known: str) -> None:
        """Refuse every key but these."""
        for key in self.content:
            if key not in known:
                raise Invalid(f"there is no such key; there are {', '.join(known)}", where=self.at(str(key)))

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string, one line or many."""
        value = self.content.get(key, default)
        if not isinstance(value, str):
            said = "it is missing" if value is None else f"{value!r} is no text; put it in quotes"
            raise Invalid(said, where=self.at(key))
        return value.strip()

    def name(self, key: str) -> str:
        """A name: 1 to 63 of a-z, 0-9 and -, starting with a letter."""
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise Invalid(f"{value!r} is not 1 to 63 of a-z, 0-9 and -, starting with a letter", where=self.at(key))
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A mapping; empty where it is absent."""
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise Invalid("it is no mapping", where=self.at(key))
        return value

    def list_of_mappings(self, key: str) -> list[Part]:
        """A list of mappings; empty where it is absent."""
        value = self.content.get(key, [])
        if not isinstance(value, list):
            raise Invalid("it is no list", where=self.at(key))
        return [_part(item, f"{self.at(key)}[{index}]") for index, item in enumerate(value)]


def load(text: str, place: str) -> Part:
    """Read a document whose root is a mapping.

    Raises:
        Invalid: it is too long, isn't YAML, or is something else.
    """
    if len(text.encode(errors="replace")) > LONGEST_BYTES:
        raise Invalid(f"it is longer than {LONGEST_BYTES} bytes", where=place)
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - it derives from the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(_problem(error), where=place) from None
    return _part(content, place)


def _part(content: Any, where: str) -> Part:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise Invalid("it is no mapping from names", where=where)
    return Part(content, where)


def _problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1})"
    return f"it isn't YAML: {error}"
