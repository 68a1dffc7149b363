# What CI does is `make check test`, line for line; each target sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
PEERS := .cache/bench-peers
# Where a path is given to the tests: make test TESTS=tests/test_plan.py
TESTS ?=
BENCH ?=

# The versions that the tables of docs/performance.md name.
CRANE := github.com/google/go-containerregistry/cmd/crane@v0.22.1
REGSYNC := github.com/regclient/regclient/cmd/regsync@v0.11.7
DISTRIBUTION := github.com/distribution/distribution/v3/cmd/registry@v3.1.2

.PHONY: help setup check test docs demo bench bench-fleet bench-memory bench-scale bench-peers clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

setup: $(STAMP) ## make .venv with everything that developing needs

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

check: setup ## formatting, lint, types, layers and generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_layers.py
	$(BIN)/python docs/reference.py --check

test: setup ## all tests; they need docker-registry and skopeo
	$(BIN)/pytest --quiet $(TESTS)

docs: setup ## write docs/cli.md and docs/mmgraph.1 from the command line itself
	$(BIN)/python docs/reference.py

demo: setup ## mirror a small fleet between two registries of mmgraph's own
	PATH="$(CURDIR)/$(BIN):$$PATH" ./demo.sh

bench-fleet: setup ## one fleet, all tools that are installed, next to a bare loop: BENCH='--fleet A --rounds 3'
	PATH="$(CURDIR)/$(PEERS):$$PATH" $(BIN)/python -m benchmarks.run $(BENCH)

bench: setup ## every benchmark, and one table of what is reached; some ten minutes: BENCH='--only scale memory'
	PATH="$(CURDIR)/$(PEERS):$$PATH" $(BIN)/python -m benchmarks.everything $(BENCH)

bench-memory: setup ## mmgraph's peak memory by blob size and by nodes
	$(BIN)/python -m benchmarks.memory

bench-scale: setup ## the plan of 100,000 images, without a network: seconds and memory
	$(BIN)/python -m benchmarks.scale

bench-peers: ## build the registry that `make bench` is meant for, crane and regsync; needs Go
	mkdir -p $(PEERS)
	GOBIN="$(CURDIR)/$(PEERS)" go install $(CRANE)
	GOBIN="$(CURDIR)/$(PEERS)" go install $(REGSYNC)
	GOBIN="$(CURDIR)/$(PEERS)" go install $(DISTRIBUTION)
	mv $(PEERS)/registry $(PEERS)/distribution-3

clean: ## remove what these targets made, and no files of yours
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis demo
	find mmgraph tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
