# Every target is one line in `make help`; what they need is set up first by hack/setup.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# pytest rewrites every assertion; compiled files save it that in the next run, and in every further process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup lab test test-fast check format bench bench-l2 bench-failover chaos manifests clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fill .venv with the project and its tools
	@hack/setup

lab: ## See the whole product work on this machine (ARGS="--keep --nodes 5" passes options)
	@hack/setup lab
	@metallb lab $(ARGS)

test: ## Set everything up, check the code and pass every test, a real kube-apiserver's included
	@hack/setup test
	@$(MAKE) --no-print-directory check
	pytest -v --durations=15

# Many tests wait for something, so there are more processes than cores. `make test` runs more random histories and examples.
test-fast: setup ## The tests that need neither root nor a cluster, on all cores: about a minute
	CHAOS_RUNS=200 pytest -q -n $$((2 * $$(nproc))) --dist worksteal --hypothesis-profile=fast \
		-m "not slow and not live and not cluster"

check: setup ## Style, types, import contracts, generated manifest
	ruff check
	ruff format --check
	mypy
	lint-imports
	hack/manifests --check

format: setup ## Let ruff rewrite what it can
	ruff check --fix
	ruff format

bench: setup ## Measure the product and print one table for each subject
	python -m bench.report $(ARGS)

bench-l2: ## Measure layer 2 and draw docs/benchmarks-l2.svg: a quarter of an hour (ARGS="--docs" writes the page, too)
	@hack/setup bench
	python -m bench.layer2 $(ARGS)

bench-failover: setup ## Measure failover, beside keepalived: 35 minutes, root (ARGS="--docs" writes the page, too)
	python -m bench.failover $(ARGS)

chaos: setup ## Two minutes of random faults on four nodes with real speakers; needs root (ARGS="--seed 7 --seconds 600")
	python -m bench.chaos $(ARGS)

manifests: setup ## Write k8s/metallb.yml from the kustomization beside it
	@hack/manifests

clean: ## Remove .venv and every cache in this folder
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
