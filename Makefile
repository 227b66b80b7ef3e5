# Everything that contributors and CI run. It needs git, make and CPython >= 3.11; `make setup` installs the rest into .venv.
#   make test            set-up, lint, types, import contracts, all tests (.ci/run does more)
#   make check           the same without the tests, in about a minute
#   make demo            kill a worker and a server with SIGKILL while a workflow runs, and watch it finish
# The tests of one package: .venv/bin/python -m pytest tests/unit/history -q

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# More processes than cores make timing-sensitive end-to-end tests slower, not faster.
PYTEST_ARGS ?= -n auto --dist worksteal
SEEDS  ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup check lint format overloads types imports test pytest test-next-year coverage sim mutations plant damage conformance fuzz reference-record histories demo bench cost docs clean

help:            ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1|/' | column -t -s '|' 2>/dev/null || true

setup:           ## Build .venv, if pyproject.toml or constraints.txt has changed
	@$(PYTHON) scripts/bootstrap.py --venv $(VENV)

check: lint types imports   ## Lint, formatting, strict types, import contracts, rules about the source
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/tidy

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: setup    ## Format the source
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

overloads: setup ## Write the overloads of the public functions again, from scripts/generate_overloads.py
	$(BIN)/python scripts/generate_overloads.py

types: setup
	$(BIN)/basedpyright --pythonpath $(BIN)/python

imports: setup
	$(BIN)/lint-imports --no-logo --no-cache

test: check pytest   ## Set-up, lint, types, import contracts, all tests

pytest: setup    ## All tests, without lint, types and import contracts
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests

# Left out: a test that runs a server in a thread while commands set environment variables. libfaketime crashes there.
test-next-year: setup  ## All tests but one file, on a clock that is a year ahead and in another time zone
	$(BIN)/python scripts/next_year.py $(BIN)/python -m pytest $(PYTEST_ARGS) tests \
	  --ignore=tests/unit/cli/test_every_flag.py

cost: setup      ## Count the bytecodes that a workflow takes, by function (make cost ARGS="--against before.json")
	@$(BIN)/python -m tests.cost.measure $(ARGS)

coverage: setup  ## Measure the branch coverage of the pure packages by their own tests
	$(BIN)/python -m pytest -q $(PYTEST_ARGS) --cov --cov-report=term \
	  tests/unit/history tests/unit/matching tests/unit/replay tests/properties tests/transcripts

sim: setup       ## Play many simulated worlds: make sim SEEDS=2000, or SEED=n to play one again
	$(BIN)/python -m pytest -q tests/simulation/test_worlds.py -k promises $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutations: setup ## Remove each guard of the server in turn; the simulation must notice in each draw (minutes)
	$(BIN)/python -m tests.simulation.mutations --seeds $(or $(MUTATION_SEEDS),200) --draws $(or $(DRAWS),10)

plant: setup     ## Plant small bugs and count how many the tests find: make plant AREA=storage SAMPLE=40 SEED=1 ARGS=--reuse
	@$(BIN)/python -m tests.planting $(foreach area,$(AREA),--area $(area)) \
	  $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

damage: setup    ## Damage database files and open each in every way: make damage SEEDS=500 ARGS=--large
	$(BIN)/python -m tests.unit.server.damage_campaign --seeds $(or $(SEEDS),100) $(ARGS)

conformance: setup   ## Run the official SDK, in its own process, against our server
	$(BIN)/python -m pytest -q tests/conformance

fuzz: setup      ## Send many random requests to every RPC: make fuzz SEEDS=500, or SEED=n to send those of one seed again
	$(BIN)/python -m pytest -q tests/fuzz -k seeds $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

reference-record: setup  ## Record the answers of the reference server in tests/reference again
	$(BIN)/python -m tests.reference.record
	$(BIN)/python -m tests.reference.skipping.record

histories: setup ## Record the histories of tests/replay again (SCENARIOS="timers …": only these)
	$(BIN)/python -m tests.replay.recorded.record $(SCENARIOS)

demo: setup      ## Kill worker and server while a workflow runs, and watch it finish (about 30 s)
	@$(BIN)/python scripts/demo.py

bench: setup     ## Measure and print the costs; takes minutes (make bench FULL=1: all sizes, much longer)
	@$(BIN)/python benchmarks/run_all.py $(if $(FULL),--full)

docs: setup      ## Check the links, code, commands and file names in the documentation
	$(BIN)/python -m pytest -q tests/tidy -k docs

clean:           ## Remove everything that was built
	rm -rf $(VENV) .demo .bench .planting build dist htmlcov .coverage .pytest_cache .ruff_cache .hypothesis
	find src tests examples scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
