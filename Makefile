# One command for each thing that a person comes to do; `make` alone lists them.
# Needs Python 3.11, 3.12 or 3.13 with venv, and make. Everything else is installed here, into .uv and .venv.

PYTHON ?= python3
UV := .uv/bin/uv
UV_VERSION := 0.13.9
GOLDEN := .venv/bin/golden
ARGS ?=
# Processes that run tests, each with servers of its own; most tests wait more than they compute.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast faults lint format protos bench clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.complete ## Install everything that is needed, into this folder and the user's cache

$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version}: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .uv || { echo "Python's venv is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.complete: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --all-extras --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	$(GOLDEN) setup
	@touch $@

demo: setup ## Show the main job on real data: train, gate, deploy, canary, drift, hold, roll back
	$(GOLDEN) demo $(ARGS)

test: setup ## Run every test, on real Kafka, PostgreSQL and Envoy
	.venv/bin/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-fast: setup ## Run the tests that need no server
	.venv/bin/pytest -m "not servers" $(ARGS)

faults: setup ## Break everything while models live, and prove that nothing was lost: SEED=7 STEPS=200 REPLICAS=2
	.venv/bin/python -m tests.faults $(SEED:%=--seed %) $(STEPS:%=--steps %) $(REPLICAS:%=--replicas %) $(ARGS)

lint: setup ## Check format, style, types, import contracts and the events' contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy services golden tests benchmarks protos/*.py
	.venv/bin/lint-imports
	.venv/bin/buf lint
	.venv/bin/buf format --diff --exit-code

format: setup ## Format the code and the contracts
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
	.venv/bin/buf format --write

protos: setup ## Generate the contracts' Python code and the event catalogue
	PATH=.venv/bin:$$PATH .venv/bin/python protos/generate.py
	.venv/bin/python protos/asyncapi.py
	.venv/bin/python protos/openapi.py
	.venv/bin/python protos/telemetry.py

bench: setup ## Measure, beside the peers; a table, and benchmarks/bench.json
	.venv/bin/python -m benchmarks $(ARGS)

clean: ## Remove what setup made here
	rm -rf .uv .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
