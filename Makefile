# Two commands: `make demo` and `make test`. Each sets up .venv first, which is instant once it is done.
#   make demo ARGS="--instruction 'push the red block to the left' --seed 3"
#   make setup LOCKED=1   (the very files that were tested, by their hashes: requirements.lock; Python 3.11, x86_64, Jazzy)
#   make setup PYTHON=python3.12 PIP_ARGS="--extra-index-url URL"   (another python, an index with CPU-only torch)
#   ROS_DISTRO=kilted make setup   (ROS 2 Kilted in the place of Jazzy; changing it makes .venv anew)
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LIVE := $(BIN)/python -m pytest -m "live and not slow and not faults"
ARGS ?=
PIP_ARGS ?=
LOCKED ?=
# Jazzy, unless .venv was made with another.
ROS_DISTRO ?= $(or $(patsubst $(VENV)/.requirements-%,%,$(firstword $(wildcard $(VENV)/.requirements-*))),jazzy)
ROS_REQUIREMENTS := $(if $(filter jazzy,$(ROS_DISTRO)),requirements-ros.txt,requirements-ros-$(ROS_DISTRO).txt)
REQUIREMENTS := requirements.txt $(ROS_REQUIREMENTS) requirements-training.txt requirements-dev.txt requirements-docs.txt
INSTALLED := $(VENV)/.requirements-$(ROS_DISTRO)
# A ROS installation sourced in this shell, or another venv's python above us, would mix their libraries with .venv's.
unexport PYTHONPATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
export LD_LIBRARY_PATH := $(shell tr : '\n' <<< "$$LD_LIBRARY_PATH" | grep -v -e '^/opt/ros' -e site-packages | paste -sd:)

.DEFAULT_GOAL := help
.NOTPARALLEL: # live tests want the machine for themselves
.PHONY: help setup demo test test-fast test-live test-slow faults lint format docs lock audit ci clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED) $(VENV)/.project ## create .venv with everything in it

# The wheels of two ROS distributions do not mix: another one's .venv is emptied first.
$(INSTALLED): $(REQUIREMENTS) constraints.txt requirements.lock $(wildcard scripts/*.sh)
	@python=$$(PYTHON="$(PYTHON)" scripts/find_python.sh) && \
	scripts/system_packages.sh "$$python" && \
	echo "creating $(VENV) with $$python and ROS 2 $(ROS_DISTRO); about two minutes" && \
	others=$$(ls $(VENV)/.requirements* 2>/dev/null | grep -vx '$@' || true) && \
	"$$python" -m venv $${others:+--clear} $(VENV) && \
	LOCKED="$(LOCKED)" ROS_REQUIREMENTS="$(ROS_REQUIREMENTS)" scripts/install.sh $(BIN)/python $(PIP_ARGS)
	@touch $@

# There are wheels of two distributions; a shell that has sourced another says so here, not in pip's words.
requirements-ros-%.txt:
	@echo "ROS_DISTRO must be jazzy or kilted, got $*; try: ROS_DISTRO=jazzy make ..." >&2; exit 1

$(VENV)/.project: $(INSTALLED) setup.py setup.cfg package.xml
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@
	@echo "$(BIN)/vla-ros is ready"

demo: setup ## run the tabletop demo; pass options with ARGS="..."
	@$(BIN)/vla-ros demo $(ARGS)

lint: setup ## ruff, codespell and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/mypy

ifeq ($(ARGS),)
test: lint test-fast test-live ## lint, then every test that is not marked slow: those without nodes side by side, then the live ones
else
test: lint
	@$(BIN)/python -m pytest $(ARGS)
endif

test-fast: setup ## the tests that start no ROS nodes, side by side
	@$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m "not (live or slow or faults)"

# A live test that fails is run once more after the others: a machine that stands still for a second is no fault of ours.
# Both runs are printed; one that fails twice fails.
test-live: setup ## the tests that start ROS nodes, one after the other
	@$(LIVE) || { [ $$? -eq 1 ] && echo "again, only those that failed" && $(LIVE) --last-failed --last-failed-no-failures none; }

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

docs: setup ## build docs/ into out/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -q
	@echo "open out/site/index.html"

ci: ## what continuous integration runs
	@.ci/run

clean: ## remove builds, caches and outputs; keep .venv
	rm -rf build install log out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
