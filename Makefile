# Works from any current folder: make -f path/to/Makefile solve
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VENV := $(ROOT)/.venv
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(ROOT)/constraints.txt
TYPES := $(ROOT)/build/types

.PHONY: solve test lint format clean

# Set up and solve the example problem with the default model.
solve: $(VENV)/.installed
	$(VENV)/bin/colasearch solve $(ROOT)/examples/problem.txt
	@echo "To have the command colasearch in this shell: . $(VENV)/bin/activate" >&2

# Set up and run the tests: two at a time, but for those that cannot share the machine. ARGS="..." runs those in one go.
PYTEST := cd $(ROOT) && $(VENV)/bin/python -m pytest -q --durations=15
test: $(VENV)/.installed-dev
ifdef ARGS
	$(PYTEST) $(ARGS)
else
	$(PYTEST) -m "not alone" --numprocesses 2 --dist loadfile
	$(PYTEST) -m alone
endif

# Style and types. Types are checked on the installed wheel, as our package mapping asks for.
lint: $(VENV)/.installed-dev
	cd $(ROOT) && $(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	rm -rf $(ROOT)/build
	cd $(ROOT) && $(PIP) --no-deps --no-build-isolation --target $(TYPES) .
	cd $(TYPES) && $(VENV)/bin/mypy --config-file $(ROOT)/pyproject.toml

format: $(VENV)/.installed-dev
	cd $(ROOT) && $(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) $(ROOT)/build $(ROOT)/colasearch.egg-info

# A stamp is written only after everything before it has worked, so an interrupted set-up is repeated.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(ROOT)/pyproject.toml $(ROOT)/constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable $(ROOT)
	touch $@

$(VENV)/.installed-dev: $(ROOT)/pyproject.toml $(ROOT)/constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable "$(ROOT)[dev]"
	touch $@ $(VENV)/.installed
