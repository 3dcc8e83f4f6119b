# Everything runs in .venv, which is made by the first target that needs it, from what setup.cfg names for tests.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo check test test-slow test-ends test-all test-interop fuzz soak bench lint types stub wheel clean

help: ## Show this (needs nothing)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## Connect to a local platform, wait, use the backend; then the same with Plane (needs Python 3.7+)
	@$(PYTHON) tests/local/demo.py

check: ## Ten checks of the platform that the environment names (needs Python 3.7+, under a minute)
	@$(PYTHON) tests/dev/check.py

test: .venv types ## Check the types, run the tests (needs Python 3.10+ and, once, a package index; openssl)
	.venv/bin/python tests/dev/parts.py -q

test-slow: .venv ## Run the tests that take long (needs what test needs)
	.venv/bin/python tests/dev/parts.py -q -m slow

test-ends: ## Run the tests on the oldest and the newest CPython here (needs those, and what test needs)
	$(PYTHON) tests/dev/environments.py --ends

test-all: ## Run the tests on every Python on PATH and under pyenv (needs those, and what test needs)
	$(PYTHON) tests/dev/environments.py

test-interop: ## Run the tests with tracers, recorders, fakes, ... (needs what test needs)
	$(PYTHON) tests/dev/interop.py

fuzz: .venv ## Mutate, flood and delay answers for a minute, or make fuzz SECONDS=600 (needs what test needs)
	.venv/bin/python tests/dev/fuzz.py --seconds $(SECONDS)

soak: .venv ## Half an hour behind nginx and HAProxy, killed now and then (needs these and what test needs)
	.venv/bin/python tests/dev/soak.py

bench: ## Measure, and compare with urllib, requests, httpx (needs Python 3.7+, two minutes; valgrind or perf for instructions)
	$(PYTHON) tests/dev/bench/bench.py

lint: types ## The same as types (needs what test needs)

types: .venv ## mypy --strict on the module and the tests (needs what test needs)
	.venv/bin/python -m mypy

stub: .venv ## Make the stub from the module (needs what test needs)
	.venv/bin/python tests/dev/stub.py

wheel: .venv ## Build dist/*.whl (needs what test needs)
	rm -rf build
	.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove all that these targets made (needs nothing)
	rm -rf .venv .venvs .venv-interop .venv-interop-older build dist *.egg-info stubs/*.egg-info .pytest_cache .mypy_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Looked at each time, for setup.cfg or the Python may have changed; where nothing has, this is done at once.
.PHONY: .venv
.venv:
	@$(PYTHON) tests/dev/environments.py --make .venv
