# Every target brings its own environment: `git clone` and `make up` is all it takes.
# Needs python3 (3.11 or newer) with venv, and git. Another interpreter: make PYTHON=python3.12 up

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help up test durations check bench fuzz chaos docs lock clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.complete
unexport PYTHONDONTWRITEBYTECODE  # hundreds of processes start in a run, and each would compile everything anew
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "quarterdeck: Python 3.11 or newer is needed; name one with make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "quarterdeck: Python's venv is missing: apt-get install python3-venv" >&2; exit 2; }
	@echo "Preparing .venv: a minute the first time."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --no-deps --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	@touch $(READY)

up: $(READY)  ## run everything on this machine, in the foreground
	@exec $(BIN)/python -m workers up

# Files side by side, the longest first, for many of them wait more than they compute; then the chaos tests, which fill the machine
# by themselves: beside them the starts of whole stacks took so long on two cores that tests gave up.
SIDE_BY_SIDE := --quiet --durations=12 --numprocesses=4 -p tests.seconds --ignore=tests/chaos
CHAOS := --quiet --durations=5 -p tests.seconds tests/chaos

test: $(READY)  ## run the tests that this machine can run, and say what was left out (ARGS=... for one call of pytest)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)
	@$(BIN)/python -m pytest $(CHAOS)
endif

durations: $(READY)  ## the same, and write down how long each file took: the order of the next runs
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --record-durations
	@$(BIN)/python -m pytest $(CHAOS) --record-durations

check: $(READY)  ## lint, types, import rules, architecture, compose file
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/architecture --quiet
	@env $(foreach name,$(COMPOSE_SECRETS),$(name)=only-to-check) $(BIN)/docker-compose --file docker-compose.yml config --quiet
	@echo "All checks passed."

COMPOSE_SECRETS := QUARTERDECK_INSTALLATION_KEY POSTGRES_PASSWORD TEMPORAL_POSTGRES_PASSWORD \
	QUARTERDECK_WORKER_PASSWORD QUARTERDECK_API_PASSWORD QUARTERDECK_SIMCLOUD_TOKEN

bench: $(READY)  ## measure, each figure beside its limit; fails where one is missed
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(READY)  ## every route in full with requests made up anew; what passed is sampled by `make test` until it changes
	@QUARTERDECK_FUZZ=explore $(BIN)/python -m pytest --quiet tests/fuzz

chaos: $(READY)  ## the full matrix of crash points, and what is run in a container
	@QUARTERDECK_CHAOS=full $(BIN)/python -m pytest tests/chaos tests/embedded/test_inside_a_container.py -s $(ARGS)

docs: $(READY)  ## write the documents that are made from the code
	@$(BIN)/python -m models.settings.reference > docs/settings.md
	@$(BIN)/python -m models.domain.errors_reference > docs/error-codes.md

lock: $(READY)  ## resolve both lock files anew (needs uv)
	@command -v uv > /dev/null || { echo "quarterdeck: uv is missing: pip install uv" >&2; exit 2; }
	@uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-header \
		--quiet --output-file requirements.lock
	@$(BIN)/python -m scripts.runtime_lock

clean:  ## remove the environment and caches; the data in .quarterdeck stays
	@rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
