# Each target sets up what it needs, on a fresh Debian 12 too. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
DEV := .venv/.installed-dev
TEST_WORKERS ?= 2

.PHONY: help demo test check dev bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/.installed: pyproject.toml constraints.txt infra/bootstrap.sh
	@infra/bootstrap.sh

$(DEV): pyproject.toml constraints.txt infra/bootstrap.sh
	@infra/bootstrap.sh dev

demo: .venv/.installed ## the whole operation in a pretend internet, two virtual days, then a report page
	@$(BIN)/dualstream demo

test: $(DEV) ## every test, on real PostgreSQL, real sockets, a real browser (as root it installs Debian packages)
	@infra/test-packages.sh
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

check: $(DEV) ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright --warnings
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python infra/file_sizes.py

dev: $(DEV) ## the Dagster UI on 127.0.0.1:3000 with the lab behind it
	@$(BIN)/dualstream lab dev

bench: $(DEV) ## the measured table of docs/benchmarks.md, reference and ours from the same run
	@$(BIN)/python -m benchmarks

clean: ## remove what the targets made
	rm -rf .venv demo dist build .pytest_cache .ruff_cache
