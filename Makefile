# Each target makes its own .venv from nothing. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

CUDA ?= cuda13
PAPER := --backend cupy --data cifar10 --network vgg12 --examples 50000 --spectrum-examples 5000 --epochs 300 \
	--rate-drops 200 --record 0,10,20,30,40,100,160,200,260,300 --probes 4 --steps 80 --out runs/paper

.PHONY: compare test lint docs lowest secrets audit gpu paper clean

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

# The quick tests with the lowest versions of the dependencies that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/project/test_architecture.py tests/backends/test_namespace.py tests/simulator/training/test_training.py \
	tests/simulator/network/test_gradient.py tests/simulator/hessian/test_hessian.py tests/simulator/lanczos/test_lanczos.py \
	$(addprefix tests/validation/,run/test_cells.py data/test_data.py statistics/test_distances.py \
	measurements/test_measure.py predictions/test_training.py compare/test_options.py compare/test_report_object.py)

lowest: $(VENV)/installed-audit
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip install -q --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[test]'
	$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning $(LOWEST_TESTS)

# Nothing that looks like a secret in any tracked file; needs no network.
secrets: $(VENV)/installed-audit
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify # pragma: allowlist secret

# Known vulnerabilities of what is installed, from the advisories of PyPI: a network is needed, and no CI rests on it.
audit: $(VENV)/installed-audit
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/frozen.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/frozen.txt

# Every kernel checked on a CUDA device, and the benchmark, within eight minutes; docs/gpu.md. Without an index:
# python benchmarks/gpu.py --here --out DIR
gpu: $(VENV)/installed-$(CUDA)
	$(BIN)/python benchmarks/gpu.py --seconds 480 --page docs/gpu.md

# One piece of the paper's experiment; again until runs/paper/report.html is there; docs/paper/README.md.
paper: $(VENV)/installed-$(CUDA)
	$(BIN)/python -m validation.compare $(PAPER) --resume --stop-after 480 || [ $$? -eq 4 ]

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

$(VENV)/installed-audit: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[audit]'
	touch $@

$(VENV)/installed-$(CUDA): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[test,cifar,$(CUDA)]' pyhessian
	touch $@ $(VENV)/installed $(VENV)/installed-test

clean:
	rm -rf $(VENV) $(LOWEST) runs build dist docs/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
