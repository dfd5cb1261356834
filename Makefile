# Every target sets up what it needs: Python 3.11 or newer with venv, and make, are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help up down test test-long lint format bench clean

help:
	@echo "make up        run the reference stack on this machine"
	@echo "make down      stop it"
	@echo "make test      run all tests"
	@echo "make test-long the same, with many more generated cases"
	@echo "make lint      ruff and mypy"
	@echo "make bench     measure against supervisord and runit by hand"
	@echo "make clean     remove the virtual environment and caches"

up: $(VENV)/stack
	@$(BIN)/bootstrap up
	@echo "open http://127.0.0.1:8080/"

down: $(VENV)/stack
	@$(BIN)/bootstrap down

# Compiled tests are kept even where nobody wants that of anything else: each worker would compile them all, every time.
test test-long: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/dev
	$(BIN)/python -m pytest

test-long: $(VENV)/dev
	BOOTSTRAP_TEST_LONG=1 $(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev
	$(BIN)/python benchmarks/configuration.py
	$(BIN)/python benchmarks/chpst.py
	$(BIN)/python benchmarks/instance.py
	$(BIN)/python benchmarks/run.py $(BENCH)

# A stamp per lock file; the venv is made by whichever comes first. Versions and hashes are the locks' own.
$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/stack $(VENV)/dev: $(VENV)/%: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "setting up $(VENV) from requirements/$*.txt, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@$(BIN)/python -m compileall -q bootstrap runit_compat
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
