# Every target does its own set-up; a second call installs nothing.
PYTHON ?= python3
BIN := .venv/bin
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: demo test test-up check up clean

demo: .venv/installed
	$(BIN)/cyclealign demo

up: .venv/installed
	$(BIN)/cyclealign up

test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not launch"

# `cyclealign up` with a real server, worker and browser; skips what needs a Chromium where there is none.
test-up: .venv/installed-dev
	$(BIN)/pytest -m launch

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1)
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints/app.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints/app.txt --editable '.[distill]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints/app.txt --editable '.[dev,postgres,distill]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
