# Every target sets up first what it needs: `make trial` on a fresh clone is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup trial compose-trial test conformance fuzz soak overload deadline-sweep audit chaos figures-jobs azurite check infra-check lock train evaluate compare-sahi clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## virtual environment, locked packages, the `tiers` command

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

trial: $(READY) ## start the three tiers, load each, say which met its target
	$(BIN)/tiers trial

compose-trial: $(READY) ## the trial with the tiers in containers: same targets, same answers (needs Docker)
	@./loadtest/compose_trial.sh

test: $(READY) ## the test suite
	$(BIN)/python -m pytest

fuzz: $(READY) ## 20,000 made-up and damaged requests; prints what came back
	$(BIN)/python -m pytest -q tests/fuzz --hypothesis-profile=fuzz

soak: $(READY) ## ten minutes at 80 % of capacity: memory and errors
	$(BIN)/python -m loadtest.soak

overload: $(READY) ## four times what a tier can do: goodput, refusals, memory
	$(BIN)/python -m loadtest.overload

deadline-sweep: $(READY) ## four minutes: what a family answers with as the deadline grows, as a record and a plot
	$(BIN)/python -m loadtest.deadline_sweep

audit: ## known faults of what is locked (needs advisory data from the network)
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit; }
	for lock in requirements/*.txt; do \
	  build/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$lock || exit 1; done

chaos: $(READY) ## kill, pause and starve workers for five minutes, and see that no background job is lost
	$(BIN)/python -m tests.chaos

figures-jobs: $(READY) ## what background jobs cost: time to the first tile, jobs a minute, latency with 10,000 stored
	$(BIN)/python -m tests.figures.jobs

azurite: build/azurite/node_modules/.bin/azurite ## Azure Storage's emulator, which tests install by themselves (needs Node)

build/azurite/node_modules/.bin/azurite:
	npm install --silent --no-fund --no-audit --prefix build/azurite azurite@3.35.0

check: $(READY) ## lint, types, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

conformance: $(READY) ## every client against every tier, feature by feature, and ONNX's own node tests
	@$(BIN)/python -m tests.conformance.perf_analyzer || echo "perf_analyzer could not be fetched: its column stays empty"
	$(BIN)/python -m tests.conformance

infra-check: $(READY) ## what can be checked of the deployment without Azure
	$(BIN)/python -m infra check

lock: ## resolve the requirement files again (needs uv); UPGRADE=--upgrade moves to newer versions
	uv pip compile pyproject.toml --extra cpu --extra http --extra functions --extra jobs-azure --group load --group dev --group train $(LOCK) -o requirements/dev.txt
	uv pip compile pyproject.toml --extra cpu --extra http $(LOCK) -o requirements/container.txt
	uv pip compile pyproject.toml --extra cpu --extra http --extra jobs-azure $(LOCK) -o requirements/container-azure.txt
	uv pip compile pyproject.toml --extra gpu --extra http $(LOCK) -o requirements/gpu.txt
	uv pip compile pyproject.toml --extra cpu --extra functions $(LOCK) -o requirements/functions.txt
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q $(UPGRADE)

train: $(READY) ## make the models again (a minute for the tables; PyTorch and over an hour for VARIANT=n, a GPU for larger ones)
	$(BIN)/python -m training.tabular
	@$(BIN)/python -c 'import torch' 2>/dev/null || { echo "The detector needs PyTorch: $(BIN)/pip install torch"; exit 1; }
	$(BIN)/python -m training.detector.train --variant $(VARIANT) --device $(DEVICE) --minutes $(MINUTES) --out build/$(DETECTOR)
	$(BIN)/python -m training.detector.export --checkpoint build/$(DETECTOR)/checkpoint.pt --out shared/models/$(DETECTOR) --weights $(WEIGHTS)
	$(BIN)/python -m training.evaluate --model $(DETECTOR) --boards 20 --write
VARIANT := n
DEVICE := cpu
MINUTES := 75
DETECTOR = board-defects-$(VARIANT)
WEIGHTS = $(if $(filter n,$(VARIANT)),float32,float16)

evaluate: $(READY) ## measure the detectors' accuracy again and write it into their model.toml
	$(BIN)/python -m training.evaluate --boards 20 --write

compare-sahi: build/compare/.ready ## our tiling against SAHI's: accuracy and time on the same boards, model and session
	build/compare/bin/python -m pytest -q tests/shared/training/test_compare_sahi.py
	build/compare/bin/python -m training.compare_sahi

build/compare/.ready: pyproject.toml
	$(PYTHON) -m venv build/compare
	build/compare/bin/pip install --quiet --disable-pip-version-check --upgrade pip # older ones know no dependency groups
	build/compare/bin/pip install --quiet --group compare --editable '.[cpu]'
	@touch $@

clean: ## remove what was built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
