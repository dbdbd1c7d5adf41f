# Evidence Workbench. `make demo` shows the main job, `make test` proves it; both do all that they need.

SHELL := /bin/bash
.DEFAULT_GOAL := all

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that is Python 3.11 or 3.12; `make PYTHON=/path/to/python3.11` chooses another.
PYTHON ?= $(shell for one in python3.11 python3.12 python3; do \
	"$$one" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo "$$one" && break; done)
DEMO_DIR ?= demo
# What to test and how many processes share it, e.g. make test TESTS=tests/psi, make test WORKERS=0 (one, no helpers)
TESTS ?= tests
WORKERS ?= 2

.PHONY: all help install system demo test lint types imports documents bench soak pins clean

# What CI runs: style, types, import rules, tests, documents.
all: lint test

help:
	@echo "make demo      make three institutions, run one intersection, open JupyterLab"
	@echo "make test      the whole test suite (at most 25 minutes)"
	@echo "make lint      style, types, import rules, generated documents"
	@echo "make install   .venv with exactly the versions of constraints.txt"
	@echo "make system    Debian packages that some tests use (as root)"
	@echo "make bench     measurements: a table and JSON      make soak   endurance runs"
	@echo "make documents write the generated documents anew  make clean  remove what was built"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; none was found" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# Never a reason to stop: tests that need a missing tool are skipped by name, and fail with CI=1.
system:
	@tools/system.sh

demo: install
	$(BIN)/workbench demo $(DEMO_DIR)

test: install system
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

lint: install types imports
	$(BIN)/ruff check .
	$(BIN)/python -m tools.documents --check

types: install
	$(BIN)/mypy --strict workbench plugins/workbench_* widgets/workbench_widgets tools

imports: install
	$(BIN)/lint-imports --no-cache

documents: install
	$(BIN)/python -m tools.documents

bench: install
	$(BIN)/python -m tests.bench $(BENCH)

soak: install
	$(BIN)/python -m pytest -m soak --timeout 7200 $(TESTS)

# After a change of dependencies: install the newest that pyproject.toml allows and write their versions down.
pins:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[dev]'
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort -f; } > constraints.new
	mv constraints.new constraints.txt
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
