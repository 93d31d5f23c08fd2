"""The tree as the architecture tests read it: its source files, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("registry", "governance", "deployer", "monitor", "modelserver")
_FOLDERS = ("services", "golden", "protos", "tests", "benchmarks", "deploy", "docs", "examples", ".ci", ".github")
_GENERATED = {"uv.lock", ".git"}  # .git is a file in a work tree beside the clone
_NOT_OURS = {"__pycache__", "gen", "node_modules", ".ipynb_checkpoints"}


def files(*folders: str) -> Iterator[Path]:
    """Every file of ours below these folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not _NOT_OURS.intersection(path.relative_to(ROOT).parts):
                yield path


def every_file() -> Iterator[Path]:
    """Every file of ours that people read: the folders', and those at the root."""
    yield from files(*_FOLDERS)
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.name not in _GENERATED)


def modules(*folders: str) -> list[Path]:
    """Every Python module of ours below these folders."""
    return [path for path in files(*folders) if path.suffix == ".py"]


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text())


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a module, with the dotted name of what is called."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every dotted name that a module imports, with its line."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", node.lineno) for alias in node.names)


def place(path: Path, line: int) -> str:
    """Where something is, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{line}"


def explained(path: Path, node: ast.AST) -> bool:
    """True where a comment beside a statement says why it is as it is."""
    lines = path.read_text().splitlines()
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    return any("  # " in line for line in lines[first - 1 : last])
