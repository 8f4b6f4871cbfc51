# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help run test quick check lint bench soak lock clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST)

# Setuptools warns of each editable installation; that there is one is meant.
$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

run: $(READY)  ## emulated board, daemon, sanity checker, page and terminal monitor; Ctrl-C ends it
	$(BIN)/daqd demo

test: $(READY)  ## the test suite, in as many processes as there are cores
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0

UNITS = tests/protocol tests/astropix_runtime tests/apx tests/daqd tests/monitor

quick: $(READY)  ## unit tests only, with fewer examples: under a minute
	QUICK_TESTS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not soak" $(UNITS)

lint: $(READY)  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## everything that must hold before a commit

bench: $(READY)  ## speed and latency, printed beside the figures of the design
	$(BIN)/python -m tests.bench

NO_LIMIT = --timeout 0 -o faulthandler_timeout=0

soak: $(READY)  ## long tests: kills, starts and stops on damaged links, ten million hits, much fuzzing (an hour or more)
	$(BIN)/pytest -m soak -s $(NO_LIMIT)
	FUZZ_EXAMPLES=5000 $(BIN)/pytest tests/fuzz $(NO_LIMIT)
	FUZZ_EXAMPLES=1000 $(BIN)/pytest -m "hypothesis and not soak" --ignore tests/fuzz $(NO_LIMIT)

COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links pyproject.toml

lock: $(READY)  ## exact versions of everything, with hashes: what users need, and what developers need
	$(COMPILE) --extra dev --output-file requirements-dev.lock
	$(COMPILE) --extra sanity --constraint requirements-dev.lock --output-file requirements.lock

clean:  ## remove the environment and caches (never data)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
