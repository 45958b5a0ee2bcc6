# Each target makes its own .venv from nothing. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: compare test lint lowest secrets audit clean

compare: $(VENV)/installed
	$(BIN)/python -m validation.compare --resume

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The quick tests with the lowest versions of the dependencies that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/test_architecture.py tests/test_cells.py tests/test_data.py tests/test_distances.py \
	tests/test_gradient.py tests/test_hessian.py tests/test_lanczos.py tests/test_measure.py tests/test_namespace.py \
	tests/test_options.py tests/test_phase.py tests/test_report_pages.py tests/test_symmetry.py tests/test_training.py

lowest: $(VENV)/installed-audit
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip install -q --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning $(LOWEST_TESTS)

# Nothing that looks like a secret in any tracked file; needs no network.
secrets: $(VENV)/installed-audit
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline

# Known vulnerabilities of what is installed, from the advisories of PyPI: a network is needed, and no CI rests on it.
audit: $(VENV)/installed-audit
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/frozen.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/frozen.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-audit: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[audit]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
