"""The rules of style that a linter doesn't know, each as a small look at the syntax tree."""

from __future__ import annotations

import ast
import re

from tests.architecture.tree import ROOT, calls, every_file, explained, imports, modules, parsed, place

NAMES_THAT_SAY_NOTHING = {"utils.py", "util.py", "common.py", "helpers.py", "manager.py", "misc.py"}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
SLEEPS = {"time.sleep", "asyncio.sleep", "sleep"}
METRICS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
SQL = re.compile(r"\s*(SELECT\s|INSERT INTO\s|UPDATE \w+( AS \w+)? SET\s|DELETE FROM\s|WITH \w+ AS|CREATE TABLE\s)")
# What a session keeps beyond a transaction: settings, locks, cursors, tables. Pooled connections aren't reset.
OUTLIVES = re.compile(
    r"""["']\s*SET (?!LOCAL|TRANSACTION)|pg_(try_)?advisory_lock|["']\s*LISTEN |WITH HOLD|CREATE TEMP|set_config\("""
)
# Assembled, so that this file holds none of them.
MACHINE_PATHS = tuple("/" + folder + "/" for folder in ("work", "root", "tmp/bash_jobs"))
LEFT_TO_DO = re.compile(r"#.*\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
LONGEST = 300
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".proto", ".sql", ".sh", ".ipynb", ".json", ".html", ".cfg", ".cel", ""}


def test_no_module_has_a_name_that_says_nothing() -> None:
    found = modules("services", "golden", "tests", "protos", "benchmarks")

    assert [path for path in found if path.name in NAMES_THAT_SAY_NOTHING] == []


def test_every_module_says_what_it_is_in_a_docstring() -> None:
    found = modules("services", "golden", "protos", "benchmarks")

    assert [str(path.relative_to(ROOT)) for path in found if not ast.get_docstring(parsed(path))] == []


def test_no_module_is_longer_than_a_person_reads_at_once() -> None:
    found = modules("services", "golden", "protos", "benchmarks")

    assert [place(path, LONGEST) for path in found if path.read_text().count("\n") > LONGEST] == []


def test_nothing_on_a_pooled_connection_outlives_its_transaction() -> None:
    code = {path: path.read_text() for path in modules("services")}

    assert [str(path.relative_to(ROOT)) for path, text in code.items() if OUTLIVES.search(text)] == []
    assert OUTLIVES.search('execute("SET lock_timeout = 0")')
    assert OUTLIVES.search("SELECT pg_advisory_lock(7)")


def test_no_test_mocks() -> None:
    found = ((name, place(path, line)) for path in modules("tests") for name, line in imports(path))

    assert [where for name, where in found if name.startswith(("unittest.mock", "mock", "pytest_mock"))] == []


def test_no_test_sleeps() -> None:
    tests = (path for path in modules("tests") if path.name.startswith("test_"))
    found = ((path, node) for path in tests for name, node in calls(path) if name in SLEEPS)

    # To sleep for no time is to let the others run; a slow peer that a test plays is no test.
    assert [place(path, node.lineno) for path, node in found if ast.unparse(node.args[0]) != "0"] == []


def test_no_test_decides_what_to_check() -> None:
    functions = ((path, node) for path in modules("tests") for node in ast.walk(parsed(path)))
    tests = (
        (path, node)
        for path, node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )

    assert [
        place(path, inner.lineno) for path, test in tests for inner in ast.walk(test) if isinstance(inner, ast.If)
    ] == []


def test_time_comes_from_the_clock_unless_a_comment_says_why_not() -> None:
    found = [path for path in modules("services") if path.name != "clock.py"]
    reads = ((path, node) for path in found for name, node in calls(path) if name in CLOCKS)

    assert [place(path, node.lineno) for path, node in reads if not explained(path, node)] == []


def test_sql_stands_only_in_stores_and_in_the_chassis() -> None:
    def may(parts: tuple[str, ...]) -> bool:
        # A store may be one module, several (log_store.py), a folder, or have its reading half beside it.
        return parts[1] == "chassis" or parts[-1].endswith(("store.py", "reads.py")) or "store" in parts[:-1]

    found = [path for path in modules("services") if not may(path.relative_to(ROOT).parts)]
    texts = (
        (path, node)
        for path in found
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    )

    assert [place(path, node.lineno) for path, node in texts] == []


def test_each_metric_is_defined_in_a_module_of_instruments() -> None:
    found = [path for path in modules("services", "golden") if path.name != "instruments.py"]
    names = ((path, name, line) for path in found for name, line in imports(path))

    assert [
        place(path, line)
        for path, name, line in names
        if name.startswith("prometheus_client.") and name.rpartition(".")[2] in METRICS
    ] == []


def test_no_file_knows_the_machine_that_it_was_written_on() -> None:
    texts = ((path, path.read_text(errors="replace")) for path in every_file() if path.suffix in TEXT)

    assert [str(path.relative_to(ROOT)) for path, text in texts if any(one in text for one in MACHINE_PATHS)] == []


def test_nothing_is_left_to_do() -> None:
    found = modules("services", "golden", "protos", "tests", "benchmarks")

    assert [str(path.relative_to(ROOT)) for path in found if LEFT_TO_DO.search(path.read_text())] == []
