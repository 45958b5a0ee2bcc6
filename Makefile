# Each target makes its own .venv from nothing. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

CUDA ?= cuda13
PAPER := --backend cupy --data cifar10 --network vgg12 --examples 50000 --spectrum-examples 5000 --epochs 300 \
	--record 0,10,20,30,40,100,160,200,260,300 --probes 4 --steps 80 --out runs/paper

.PHONY: compare test lint gpu paper clean

compare: $(VENV)/installed
	$(BIN)/python -m validation.compare --resume

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Parity with NumPy on a CUDA device, then the benchmark, within eight minutes; docs/gpu.md.
gpu: $(VENV)/installed-$(CUDA)
	$(BIN)/python benchmarks/gpu.py --parity --seconds 480

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

$(VENV)/installed-$(CUDA): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[test,cifar,$(CUDA)]' pyhessian
	touch $@ $(VENV)/installed $(VENV)/installed-test

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
