# Each target makes its own .venv from nothing. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: compare test lint docs clean

compare: $(VENV)/installed
	$(BIN)/python -m validation.compare --resume

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, with every script of the tutorial and the gallery run; nothing is fetched. A warning is an error.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -T -W --keep-going docs build/docs
	@echo "site: build/docs/index.html"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[docs]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) runs build dist docs/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
