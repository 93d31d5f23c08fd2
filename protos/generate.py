"""Generates the Python code of the contracts: `python protos/generate.py [FOLDER]`, by default into protos/gen.

The import path of a generated module is its proto's path below this folder, so the `goldenpath/` folder stays.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent


def generate(into: Path) -> None:
    """Write modules, stubs and type information for every proto below this folder.

    Raises:
        SystemExit: the compiler refused a proto; it has printed where and why.
    """
    sources = sorted(str(path) for path in (ROOT / "goldenpath").rglob("*.proto"))
    into.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--grpc_python_out={into}",
            f"--mypy_grpc_out=quiet:{into}",
            *sources,
        ]
    )
    if status:
        raise SystemExit(status)
    for stub in into.rglob("*_pb2_grpc.py"):
        if not _has_a_service(stub):
            stub.unlink()
            stub.with_suffix(".pyi").unlink(missing_ok=True)


def _has_a_service(stub: Path) -> bool:
    return "class " in stub.read_text()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "gen")
