# `make help` lists what there is. Everything installs what it needs of `make setup` first.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup demo check fmt lint type layers test gen lock fresh image bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: system .venv/.installed controlplane helm ## Install everything a fresh Debian 12 with Python 3.11 lacks

.PHONY: system controlplane helm
system:
	@tools/setup.sh system

.venv/.installed: pyproject.toml tools/setup.sh tools/constraints.txt
	@tools/setup.sh python

controlplane: .venv/.installed
	@tools/setup.sh controlplane

helm: controlplane
	@e2e/helm/build.sh

demo: system .venv/.installed ## Run the whole product on this machine: a real S3 store, the cache, a mount, three epochs
	@$(PY) -m examples.demo $(ARGS)

check: .venv/.installed lint type layers fresh ## Lint, types, layers, generated files

fmt: .venv/.installed ## Format the code
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lint:
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .

type:
	@.venv/bin/mypy

layers:
	@.venv/bin/lint-imports --no-cache | tail -n 6; exit $${PIPESTATUS[0]}

gen: .venv/.installed ## Write the generated files: CRDs, the chart's copy of them, messages of gRPC
	@$(PY) -m forebay_operator.api.crd crds
	@$(PY) tools/chart.py
	@tools/messages.sh

lock: .venv/.installed ## Take the newest versions that pyproject.toml allows
	@tools/setup.sh lock

fresh:
	@d=$$(mktemp -d) && $(PY) -m forebay_operator.api.crd $$d && diff -r crds $$d && rm -r $$d \
	  || { echo "crds/ is not what the models say: run 'make gen'"; exit 1; }
	@$(PY) tools/chart.py --check
	@tools/messages.sh --check

test: setup ## Run every test
	@$(PY) -m pytest

image: .venv/.installed ## Write the container image as an archive, without Docker: build/forebay-VERSION.tar
	@$(PY) tools/image.py $(ARGS)

soak: setup ## Read 200,000 times while everything goes wrong, and verify every byte: make soak [READS=...] [SEED=...]
	@SOAK_READS=$(or $(READS),200000) $(if $(SEED),SOAK_SEED=$(SEED)) $(PY) -m pytest -s tests/faults/test_soak.py

bench: system .venv/.installed ## Measure against a named rival: make bench NAME=serve
	@$(PY) -m bench $(NAME)

clean: ## Remove what was installed and built here, and what a killed demo left
	@[ ! -x $(PY) ] || $(PY) -m examples.demo --clear
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache bench/results
