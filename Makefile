# Two commands: `make demo` and `make test`. Each sets up .venv first, which is instant once it is done.
#   make demo ARGS="--instruction 'push the red block to the left' --seed 3"
#   make setup LOCKED=1   (the very files that were tested, by their hashes: requirements.lock; Python 3.11, x86_64)
#   make setup PYTHON=python3.12 PIP_ARGS="--extra-index-url URL"   (another python, an index with CPU-only torch)
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP_ARGS ?=
LOCKED ?=
REQUIREMENTS := requirements.txt requirements-ros.txt requirements-training.txt requirements-dev.txt
# A ROS installation sourced in this shell, or another venv's python above us, would mix their libraries with .venv's.
unexport PYTHONPATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
export LD_LIBRARY_PATH := $(shell tr : '\n' <<< "$$LD_LIBRARY_PATH" | grep -v -e '^/opt/ros' -e site-packages | paste -sd:)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow faults lint format lock audit ci clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.requirements $(VENV)/.project ## create .venv with everything in it

$(VENV)/.requirements: $(REQUIREMENTS) constraints.txt requirements.lock $(wildcard scripts/*.sh)
	@python=$$(PYTHON="$(PYTHON)" scripts/find_python.sh) && \
	scripts/system_packages.sh "$$python" && \
	echo "creating $(VENV) with $$python; about two minutes" && \
	"$$python" -m venv $(VENV) && \
	LOCKED="$(LOCKED)" scripts/install.sh $(BIN)/python $(PIP_ARGS)
	@touch $@

$(VENV)/.project: $(VENV)/.requirements setup.py setup.cfg package.xml
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@
	@echo "$(BIN)/vla-ros is ready"

demo: setup ## run the tabletop demo; pass options with ARGS="..."
	@$(BIN)/vla-ros demo $(ARGS)

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint ## lint, then every test that is not marked slow: those without nodes side by side, then the live ones
ifeq ($(ARGS),)
	@$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m "not (live or slow or faults)"
	@$(BIN)/python -m pytest -m "live and not slow and not faults"
else
	@$(BIN)/python -m pytest $(ARGS)
endif

test-slow: setup ## the tests marked slow
	@$(BIN)/python -m pytest -m slow $(ARGS)

faults: setup ## inject every fault and print the table
	@$(BIN)/python -m pytest -m faults test/faults $(ARGS)

format: setup ## let ruff order and lay out the code
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

lock: setup ## write requirements.lock anew, from the versions in .venv
	@$(BIN)/python scripts/lock.py

audit: setup ## known vulnerabilities and licences of what is installed; needs the network
	@$(BIN)/python scripts/audit.py

ci: ## what continuous integration runs
	@.ci/run

clean: ## remove builds, caches and outputs; keep .venv
	rm -rf build install log out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
