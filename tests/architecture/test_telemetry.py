"""The registry of telemetry: whatever the code records stands in it, and nothing stands in it that nobody records."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client.metrics import MetricWrapperBase

from services.chassis import instruments
from services.modelserver import instruments as modelserver
from tests.architecture.recorded import files, fits, log_attributes, span_attributes, spans
from tests.architecture.tree import ROOT, modules

BOTH = pytest.mark.parametrize(
    ("registry", "paths"),
    [pytest.param(instruments, files(False), id="services"), pytest.param(modelserver, files(True), id="modelserver")],
)


def on(registry: ModuleType, kind: str) -> set[str]:
    return {name for name, attribute in registry.ATTRIBUTES.items() if attribute.on in {kind, "both"}}


@BOTH
def test_every_span_is_registered_and_every_registered_span_is_made(registry: ModuleType, paths: list[Path]) -> None:
    made = spans(paths)

    assert [where for name, where in made.items() if not any(fits(name, one) for one in registry.SPANS)] == []
    assert [one for one in registry.SPANS if not any(fits(name, one) for name in made)] == []


@BOTH
def test_every_attribute_of_a_span_is_registered_and_given(registry: ModuleType, paths: list[Path]) -> None:
    given = span_attributes(paths)

    assert {key: where for key, where in given.items() if key not in on(registry, "span")} == {}
    assert on(registry, "span") - given.keys() == set()


@BOTH
def test_every_attribute_of_a_log_line_is_registered_and_given(registry: ModuleType, paths: list[Path]) -> None:
    given = log_attributes(paths)

    assert {key: where for key, where in given.items() if key not in on(registry, "log")} == {}
    assert on(registry, "log") - given.keys() == set()


@pytest.mark.parametrize("registry", [instruments, modelserver])
def test_every_metric_is_recorded_somewhere_and_says_what_it_is(registry: ModuleType) -> None:
    metrics = {name: one for name, one in vars(registry).items() if isinstance(one, MetricWrapperBase)}
    code = "\n".join(path.read_text() for path in modules("services") if path.name != "instruments.py")

    assert [name for name in metrics if not re.search(rf"\binstruments\.{name}\b", code)] == []
    assert [name for name, one in metrics.items() if not one._documentation.endswith(".")] == []


def test_what_is_written_about_telemetry_is_current(tmp_path: Path) -> None:
    written = tmp_path / "telemetry.md"
    subprocess.run([sys.executable, "protos/telemetry.py", str(written)], cwd=ROOT, check=True, timeout=120)

    assert written.read_text() == (ROOT / "docs" / "telemetry.md").read_text(), "python protos/telemetry.py"
