# Two commands for users, `make race` and `make test`; the rest is for developers.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: race test lint types contracts tests snapshots layouts tour clean

race: $(VENV)/ready
	$(BIN)/pitwall

test: lint types contracts tests

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

contracts: $(VENV)/ready-dev
	$(BIN)/lint-imports

tests: $(VENV)/ready-dev
	$(BIN)/pytest -n 2 --dist loadfile

snapshots: $(VENV)/ready-dev
	$(BIN)/pytest -n 2 tests/tui --snapshot-update
	cp 'tests/tui/__snapshots__/test_snapshots/test_race[160x45].svg' docs/race.svg

layouts: $(VENV)/ready
	$(BIN)/python -m docs.layouts

tour: $(VENV)/ready
	$(BIN)/python -m docs.tour

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest, once: this takes some minutes"
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist build
