# Everything a person types. `make help` lists it; docs/commands.md tells more.
.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh
.SHELLFLAGS := -euc

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup run test test-tiny soak crash-images fresh lab check services lock docs clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Build .venv from requirements.lock; does nothing when nothing changed
	@:

# The stamp comes last: a set-up that was interrupted is done again.
$(STAMP): requirements.lock pyproject.toml .ci/setup .ci/index
	@.ci/setup $(VENV)
	@touch $@

run: setup  ## Run the whole pipeline once, e.g. make run ARGS="--records 500"
	@$(BIN)/workbench run $(ARGS)

test: setup  ## Run all tests, e.g. make test ARGS=tests/unit
	@$(PYTEST) $(ARGS)
	@$(if $(ARGS),,$(MAKE) test-tiny)

test-tiny: setup  ## Run the tests of the engine on tests/tiny_pipeline, e.g. make test-tiny ARGS="-k resumes"
	@WORKBENCH_PROJECT=$(CURDIR)/tests/tiny_pipeline $(PYTEST) tests/tiny $(ARGS)

soak: setup  ## Run thirty runs with a random fault in each, e.g. make soak ARGS="--runs 10"
	@$(BIN)/python -m tests.soak $(ARGS)

fresh:  ## On Debian as root: run and test on a bare Debian, e.g. make fresh SUITE=bookworm ARGS=tests/unit
	@.ci/fresh-machine $(SUITE) $(ARGS)

crash-images: setup  ## As root: lose power at 20 random moments, e.g. make crash-images ARGS="--images 5 --disks 1"
	@$(BIN)/python -m tests.crash_images $(ARGS)

lab: setup  ## Open JupyterLab on the notebooks
	@$(BIN)/workbench lab

check: setup  ## Format, lint, types, layers, SQL, notebooks, compose file
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/sqlfluff lint dbt
	@$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

services:  ## On Debian as root: install and start what only the full test run wants
	@.ci/services

lock: setup  ## Resolve pyproject.toml anew into requirements.lock, keeping the pins that still fit
	@venv=$(VENV) python=$(BIN)/python; . ./.ci/index; \
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock

docs: setup  ## Write anew what stands in docs/ of parameters, and of promises and their tests
	@$(BIN)/python docs/write_parameters.py
	@$(BIN)/python docs/write_reliability.py

clean:  ## Remove .venv and caches; runs and services under .workbench stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
