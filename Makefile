# make demo    compare schemes on two large networks, and a small one with its accuracy; reports and figures stay in $(OUT)
# make test    run the tests
# make docs    build the pages of docs/ as a site, site/index.html
# make lint | types | bench | clean
# Each works by itself on a machine with Python >= 3.11, git and make.

PYTHON ?= python3
VENV ?= .venv
OUT ?= imcsim-demo
BATCHES ?= 1,16,64,256
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
TEST := $(VENV)/.installed-test
DOCS := $(VENV)/.installed-docs

.PHONY: demo test docs lint types bench clean

demo: $(BASE)
	$(BIN)/imcsim compare resnet50 --hardware rram-256 --write ember2b_word --batch $(BATCHES) --out $(OUT)
	$(BIN)/imcsim compare densenet121 --hardware rram-256 --write ember2b_word --batch $(BATCHES) --out $(OUT)
	$(BIN)/imcsim compare workloads/models/resnet8_fashion.onnx --hardware rram-256 --write radar2b_row \
	    --data workloads/models/fashion_mnist_1000.npz --images 200 --age 1d --out $(OUT)
	@echo "The reports and figures of the comparisons lie in $(abspath $(OUT))."

test: $(TEST)
	$(BIN)/python -m pytest -n 2

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

types: $(TEST)
	$(BIN)/mypy

bench: $(TEST)
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/whole_run.py
	$(BIN)/python benchmarks/published.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/cell_writing.py
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/wires.py
	$(BIN)/python benchmarks/colouring.py
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/basis_fit.py
	$(BIN)/python benchmarks/basis_layer.py
	$(BIN)/python benchmarks/refitting.py
	$(BIN)/python benchmarks/hybrid.py

clean:
	rm -rf $(VENV) $(OUT) imcsim-runs site .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "imcsim needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TEST): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps badcrossbar==1.1.0
	@touch $@ $(BASE)

$(DOCS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(BASE)
