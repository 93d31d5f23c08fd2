"""Each service stands alone: the import contracts hold, and it imports with its siblings blocked."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, SERVICES

# Every module of a package but its __main__, with some packages made impossible to import. Blocking a name in
# sys.modules also catches what import-linter can't see: an import by a name that is put together at run time.
SCRIPT = """
import importlib, pkgutil, sys
package, *blocked = sys.argv[1:]
for name in blocked:
    sys.modules[name] = None
found = importlib.import_module(package)
names = [one.name for one in pkgutil.walk_packages(found.__path__, package + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def imported(package: str, *, without: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, package, *without]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("contract", "taken"),
    [
        pytest.param("domain-chassis", {"errors"}, id="a domain"),
        pytest.param(
            "modelserver",
            {"clock", "cloudevents", "errors", "logging", "settings", "telemetry"},
            id="the model server",
        ),
        pytest.param(
            "golden",
            {
                "clock",
                "cloudevents",
                "errors",
                "grpc_errors",
                "identity",
                "settings",
                "signatures",
                "telemetry",
                "topics",
            },
            id="golden",
        ),
    ],
)
def test_a_module_of_the_chassis_is_forbidden_or_named_here(contract: str, taken: set[str]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (forbidden,) = (one["forbidden_modules"] for one in contracts if one["id"] == contract)
    modules = {path.stem for path in (ROOT / "services" / "chassis").glob("*.py")} - {"__init__"}

    named = {module.removeprefix("services.chassis.") for module in forbidden if module.startswith("services.chassis.")}

    assert named | taken == modules
    assert named & taken == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_without_its_siblings(service: str) -> None:
    siblings = [f"services.{other}" for other in SERVICES if other != service]

    done = imported(f"services.{service}", without=[*siblings, "golden"])

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


@pytest.mark.parametrize("package", ["services.chassis", "services.profile", "services.features"])
def test_what_services_share_imports_without_any_service(package: str) -> None:
    done = imported(package, without=[*(f"services.{service}" for service in SERVICES), "golden"])

    assert done.returncode == 0, done.stderr


def test_the_model_server_imports_without_what_only_the_other_services_need() -> None:
    done = imported("services.modelserver", without=["asyncpg", "fastapi", "psycopg", "sqlalchemy", "mlflow"])

    assert done.returncode == 0, done.stderr
