# One verb for each thing a contributor does; `make` lists them. All of them start
# from nothing: the virtual environment is made on first use, and again only when
# pyproject.toml or constraints.txt change.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
# The libraries of other trainers pin what they like; they have an environment of their own.
INTEGRATIONS := .venv-integrations

# A run of a few minutes in which seeds are kept and culled (nothing is staged: the seed is chosen).
DEMO ?= --task digits --episodes 4
# Where its records and its report go.
DEMO_RUNS ?= runs
# Two processes for each of two cores, because many tests wait: for other processes, for disks and for clocks. A file's
# tests stay together, for they share what is costly to set up; files begin in the order of tests/conftest.py.
PARALLEL ?= -n 4 --dist loadfile --no-loadscope-reorder
# Where `make bench` keeps its table.
FIGURES ?= docs/measurements/figures
# Arguments for pytest, e.g. `make test TESTS="tests/simic -x"`.
TESTS ?=

# Two test processes and a library pool each would fight over the cores.
export OMP_NUM_THREADS ?= 1
# Tests start hundreds of interpreters; each would compile the SDK and its tests again, which is half of such a start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-slow test-integrations soak gpu check check-style check-types check-schema bench proto clean

help:   ## list these verbs
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(INSTALLED)  ## train on real images with and without growth, record both, write a report
	$(BIN)/python -m esper.scripts.train heuristic $(DEMO) --telemetry-dir $(DEMO_RUNS)
	@echo "the control: the same hosts without growth"
	@$(BIN)/python -m esper.scripts.train heuristic $(DEMO) --no-growth --telemetry-dir $(DEMO_RUNS) >/dev/null
	@$(BIN)/esper-telemetry report $$(ls -td $(DEMO_RUNS)/*/ | head -2) -o $(DEMO_RUNS)/report.html
	@echo "Open $(abspath $(DEMO_RUNS)/report.html) and look at Comparison first: what growth adds beside the control;"
	@echo "then at the lanes of Seeds: which seeds were kept, and why the others went."

docs: $(INSTALLED)  ## write the generated pages, and build the documentation into site/ (a warning is an error)
	$(BIN)/python tools/docs/reference_pages.py
	$(BIN)/python tools/docs/build_site.py site
	@echo "Open $(abspath site/index.html)"

test: check  ## the checks, then the tests of a change: minutes
	$(BIN)/python -m pytest $(PARALLEL) $(TESTS)

test-slow: $(INSTALLED)  ## the tests that kill, flood and compile for many seconds each; CI runs them behind `make test`
	$(BIN)/python -m pytest -m 'slow and not soak and not integrations' $(PARALLEL) $(TESTS)

test-integrations: $(INTEGRATIONS)/.installed  ## the SDK inside the loops of other libraries, in an environment of their own
	$(INTEGRATIONS)/bin/python -m pytest -m integrations tests/integrations $(TESTS)

soak: $(INSTALLED)  ## the tests that take many minutes: hundreds of kills
	$(BIN)/python -m pytest -m soak $(TESTS)

check: check-style check-types check-schema  ## style, types and schema; changes nothing (`make -k check` shows all findings)

check-style: $(INSTALLED)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

check-types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy tools

check-schema: $(INSTALLED)
	cd proto && ../$(BIN)/buf lint
	cd proto && ../$(BIN)/buf format --diff --exit-code
	cd proto && ../$(BIN)/buf breaking --against baseline.binpb
	$(BIN)/python tools/check_schema.py
	$(BIN)/python tools/gen_proto.py --check

bench: $(INTEGRATIONS)/.installed  ## measure what the documents claim, beside peers, in a quarter of an hour: one table
	$(INTEGRATIONS)/bin/python tools/bench/suite.py --json $(FIGURES).json --document $(FIGURES).md --headlines README.md

gpu: $(INSTALLED)  ## what only a CUDA device can prove: its tests, then its measurements (status 2: there is none)
	$(BIN)/python tools/bench/gpu.py --check
	$(BIN)/python -m pytest -m gpu tests
	$(BIN)/python tools/bench/gpu.py

proto: $(INSTALLED)  ## generate the Python modules and descriptors from proto/
	cd proto && ../$(BIN)/buf format -w
	$(BIN)/python tools/gen_proto.py

clean:  ## remove everything that was made, records of runs excepted
	rm -rf .venv $(INTEGRATIONS) .protoc .cache build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(INTEGRATIONS)/.installed: pyproject.toml constraints.txt tests/integrations/requirements.txt
	test -x $(INTEGRATIONS)/bin/python || $(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet -c constraints.txt -e '.[torch]' -r tests/integrations/requirements.txt
	touch $@
