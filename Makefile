# Everything a contributor or CI runs. Needs git, make and CPython >= 3.11; all else goes into .venv, once.
#   make test            set-up, lint, types, import contracts, all tests (what CI runs)
#   make check           the same without the tests: seconds
#   make demo            kill -9 a worker and a server under a running workflow and watch it finish
# One package's tests in seconds: .venv/bin/python -m pytest tests/unit/history -q

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# More processes than cores make timing-sensitive end-to-end tests slower, not faster.
PYTEST_ARGS ?= -n auto --dist worksteal
SEEDS  ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup check lint format types imports test pytest test-next-year coverage sim mutations plant conformance reference-record histories demo bench docs clean

help:            ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1|/' | column -t -s '|' 2>/dev/null || true

setup:           ## Build .venv (only when pyproject.toml or constraints.txt changed)
	@$(PYTHON) scripts/bootstrap.py --venv $(VENV)

check: lint types imports   ## Lint, format, strict types, import contracts, source rules
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/tidy

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: setup    ## Rewrite the source in the house format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

types: setup
	$(BIN)/basedpyright --pythonpath $(BIN)/python

imports: setup
	$(BIN)/lint-imports --no-logo --no-cache

test: check pytest   ## Everything: set-up, lint, types, import contracts, all tests

pytest: setup    ## All tests, without lint and types
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests

# The table of flags runs a server on a thread beside commands that set variables; libfaketime crashes CPython there.
test-next-year: setup  ## All tests but one file on a clock that is a year ahead, in another time zone
	$(BIN)/python scripts/next_year.py $(BIN)/python -m pytest $(PYTEST_ARGS) tests \
	  --ignore=tests/unit/cli/test_every_flag.py

coverage: setup  ## Branch coverage of the pure packages by their own tests
	$(BIN)/python -m pytest -q $(PYTEST_ARGS) --cov --cov-report=term \
	  tests/unit/history tests/unit/matching tests/unit/replay tests/properties tests/transcripts

sim: setup       ## Many simulated seeds: make sim SEEDS=2000, or SEED=n to repeat one
	$(BIN)/python -m pytest -q tests/simulation -m simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutations: setup ## Remove each guard of the server in turn; a simulated seed of each draw must notice (minutes)
	$(BIN)/python -m tests.simulation.mutations --seeds $(or $(MUTATION_SEEDS),200) --draws $(or $(DRAWS),10)

plant: setup     ## Plant small bugs and see whether the tests notice: make plant AREA=storage SAMPLE=40 SEED=1 ARGS=--reuse
	@$(BIN)/python -m tests.planting $(foreach area,$(AREA),--area $(area)) \
	  $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(ARGS)

conformance: setup   ## The official SDK, in its own process, against our server
	$(BIN)/python -m pytest -q tests/conformance

reference-record: setup  ## Record anew what the reference server answers in tests/reference
	$(BIN)/python -m tests.reference.record
	$(BIN)/python -m tests.reference.skipping.record

histories: setup ## Record anew the histories of tests/replay (SCENARIOS="timers …": only these)
	$(BIN)/python -m tests.replay.recorded.record $(SCENARIOS)

demo: setup      ## Kill worker and server under a running workflow; it finishes (about 30 s)
	@$(BIN)/python scripts/demo.py

bench: setup     ## Print the measured costs, in minutes (make bench FULL=1: all sizes, long); nothing is asserted
	@$(BIN)/python benchmarks/run_all.py $(if $(FULL),--full)

docs: setup      ## Check that links and code in the documentation are alive
	$(BIN)/python -m pytest -q tests/tidy -k docs

clean:           ## Remove everything that was built
	rm -rf $(VENV) .demo .bench .planting build dist htmlcov .coverage .pytest_cache .ruff_cache .hypothesis
	find src tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
