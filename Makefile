# Two commands on a fresh machine: `make demo` and `make test`. Nothing but Python ≥ 3.11 and the package index.
PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
BIN = $(VENV)/bin
IMAGES ?=
OUT ?= demo-output
SCENES ?= 8

.PHONY: demo test test-all lint clean

# Runs the packaged weights on built-in scenes (and IMAGES="a.jpg folder/"); a small environment without torch.
demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/python -m fleetseg.demo --scenes $(SCENES) --out $(OUT) $(IMAGES)

# Quick tests, types and style.
test: $(VENV)/.installed
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not shared"

# Everything, the slow suites and those that need ../shared too.
test-all: $(VENV)/.installed
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check --fix src tests tools benchmarks examples
	$(BIN)/ruff format src tests tools benchmarks examples
	$(BIN)/mypy

$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check .
	touch $@

# pip, not uv: it finds the CPU build of torch where one lies on the machine.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(OUT) dist build
