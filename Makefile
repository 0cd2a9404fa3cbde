# From a fresh clone: `make demo` shows recsdk at work, `make test` checks everything that CI checks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)
EDITABLE := $(PROJECTS:%pyproject.toml=-e ./%)
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A module is compiled once and not by every process: `import jax` takes 1.5 s then, and not 5 s.
unexport PYTHONDONTWRITEBYTECODE

# uv is quick; where it is missing or fails, pip does the same.
install = { test -x $(BIN)/uv && $(BIN)/uv pip install --python $(BIN)/python $(1); } || $(BIN)/python -m pip install $(1)

.PHONY: demo test lint docs nightly verify-ope benchmark benchmark-loop benchmark-ope benchmark-quality benchmark-targets peers requirements

demo: $(INSTALLED)
	$(BIN)/recsdk demo --out demo-report

# Most of the tests' time goes to compiling programs that run for a moment: these are compiled in a hurry, but for the drivers' own, which
# hold compiled walks to the numbers of NumPy as users compile them. One of the tests builds the documentation.
test: $(INSTALLED)
	XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" $(PYTEST) --ignore=tests/drivers
	$(PYTEST) tests/drivers
	$(MAKE) --no-print-directory lint

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	if test -f mkdocs.yml; then $(BIN)/mkdocs build --strict; fi

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/speed.py --write
	$(BIN)/python benchmarks/throughput.py --write

# The whole loop beside one by hand: some minutes.
benchmark-loop: $(PEERS)
	$(BIN)/python benchmarks/loop.py --write

# What recsdk is meant to reach, and what it does: half an hour.
benchmark-targets: $(PEERS)
	$(BIN)/python benchmarks/targets.py --write

# Real kills, power cuts on simulated disks, damaged files, and what these are worth; policies as users compile them: half an hour and more.
nightly: $(INSTALLED)
	$(PYTEST) tests/policies
	$(BIN)/python -m tests.reliability nightly
	$(BIN)/python -m tests.reliability mutants

# Whether off-policy evaluation tells the truth: a few minutes.
verify-ope: $(INSTALLED)
	$(BIN)/python benchmarks/verify_ope.py --write

benchmark-ope: $(PEERS)
	$(BIN)/python benchmarks/speed_ope.py --write

# Hours, but what was played is remembered: an interrupted run goes on.
benchmark-quality: $(PEERS)
	$(BIN)/python benchmarks/quality.py --write

peers: $(PEERS)

# Without dependencies, since all are in the file: obp asks for packages of 2022 that it can do without.
$(PEERS): $(INSTALLED) requirements/peers.txt
	$(call install,--no-deps --require-hashes -r requirements/peers.txt)
	touch $@

$(INSTALLED): $(PROJECTS) requirements/uv.txt requirements/dev.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'recsdk needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt || echo "No uv here: pip does its work."
	$(call install,--require-hashes -r requirements/dev.txt)
	$(call install,--no-deps --no-build-isolation $(EDITABLE))
	touch $@

# Pins again after a change of dependencies; UPGRADE=--upgrade takes the newest of all.
requirements: $(INSTALLED)
	$(COMPILE) $(UPGRADE) --no-emit-package recsdk --group dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) --constraint requirements/dev.txt --group peers pyproject.toml --output-file requirements/peers.txt
	echo uv | $(COMPILE) $(UPGRADE) - --output-file requirements/uv.txt
