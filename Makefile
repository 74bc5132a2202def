# Works from any current folder: make -f path/to/Makefile solve
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VENV := $(ROOT)/.venv
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(ROOT)/constraints.txt
TYPES := $(ROOT)/build/types

# Python keeps what it compiles, also where the shell says otherwise: tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: solve test test-fast mutations lint format docs package clean

# Set up and solve the example problem with the default model; SOLVE_ARGS="--sims 8" adds options.
solve: $(VENV)/.installed
	$(VENV)/bin/colasearch solve $(ROOT)/examples/problem.txt $(SOLVE_ARGS)
	@echo "To have the command colasearch in this shell: . $(VENV)/bin/activate" >&2

# Set up and run the tests: those with Ray in a process of their own, which mostly waits, and the others two at a time, but
# for those that want the machine to themselves (tests/turns.py). tests/conftest.py puts the longest files first.
# ARGS="..." picks tests, and runs them in one process.
PYTEST := cd $(ROOT) && $(VENV)/bin/python -m pytest -q --durations=15
SPREAD := --dist loadfile --no-loadscope-reorder -W "ignore:Module already imported so cannot be rewritten"
test: $(VENV)/.installed-dev
ifdef ARGS
	$(PYTEST) $(ARGS)
else
	$(PYTEST) --numprocesses 3 $(SPREAD)
endif

# For the daily loop: without Ray, deadlines, browsers, and files that take longest.
test-fast: $(VENV)/.installed-dev
	$(PYTEST) -m "not alone and not ray and not long" --numprocesses 2 $(SPREAD) $(ARGS)

# Plants bugs and checks that the tests notice; ARGS="NAME ..." plants some.
mutations: $(VENV)/.installed-dev
	$(VENV)/bin/python $(ROOT)/scripts/mutations.py $(ARGS)

# Style and types. Types are checked on the installed wheel, as our package mapping asks for.
lint: $(VENV)/.installed-dev
	cd $(ROOT) && $(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	rm -rf $(ROOT)/build
	cd $(ROOT) && $(PIP) --no-deps --no-build-isolation --target $(TYPES) .
	cd $(TYPES) && $(VENV)/bin/mypy --config-file $(ROOT)/pyproject.toml

format: $(VENV)/.installed-dev
	cd $(ROOT) && $(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

# The documentation site, build/docs/index.html: every warning is an error, and the command line's pages must be current.
docs: $(VENV)/.installed-docs
	cd $(ROOT) && $(VENV)/bin/python scripts/cli_reference.py --check
	cd $(ROOT) && $(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "$(ROOT)/build/docs/index.html"

# What is released: builds wheel and sdist into dist/ and checks them, also in an environment of their own.
package: $(VENV)/.installed-dev
	cd $(ROOT) && $(VENV)/bin/python scripts/check_package.py

clean:
	rm -rf $(VENV) $(ROOT)/build $(ROOT)/colasearch.egg-info

# A stamp is written only after everything before it has worked, so an interrupted set-up is repeated.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(ROOT)/pyproject.toml $(ROOT)/constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable $(ROOT)
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable "$(ROOT)[docs]"
	touch $@

$(VENV)/.installed-dev: $(ROOT)/pyproject.toml $(ROOT)/constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable "$(ROOT)[dev]"
	touch $@ $(VENV)/.installed
