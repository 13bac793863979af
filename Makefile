# Everything lives in .venv: after `make up` or `make test`, `.venv/bin/crema` is the command.
PYTHON ?= python3
# unless told which: another Python of that version, where one is here that is much quicker
CHOOSE := $(if $(filter file,$(origin PYTHON)),--choose)
CLUSTER ?= cluster.yaml
PHOTO ?= samples/coffee.jpg
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 60
FAULTS ?=
SOAK_REPORT ?=
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
# bytecode halves the time that a model's imports take
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test unit lint format lock compiled bench soak fuzz clean

help:            ## this list
	@sed -n 's/^\([a-z]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

up: $(BIN)/.run compiled ## set up, start the cluster, analyse a photo, serve until Ctrl-C
	@exec $(BIN)/crema up $(CLUSTER) --analyze $(PHOTO)

test: $(BIN)/.dev compiled ## set up and run the whole test suite
	$(BIN)/python scripts/run_tests.py

unit: $(BIN)/.dev ## only the tests that start no processes: two minutes
	$(BIN)/python -m pytest -m "not cluster and not slow and not gpu"

compiled: $(BIN)/.run ## compile the modules that every call passes, where there is a C compiler
	@$(BIN)/python scripts/compile.py

lint: $(BIN)/.dev ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(BIN)/.dev ## bring the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/uv  ## resolve the dependencies of crema itself anew
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --extra local -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --extra local --group dev -c requirements.lock -o requirements.dev.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" -c requirements.dev.lock --group compile -o requirements.compile.lock

bench: $(BIN)/.dev compiled ## print goal, figure and verdict of every benchmark
	$(BIN)/python -m benchmarks

soak: $(BIN)/.dev compiled ## every fault with long windows, 50 minutes (FAULTS=F26,F28 SOAK_SECONDS=60 SOAK_REPORT=FILE)
	$(BIN)/python -m benchmarks.soak --seconds $(SOAK_SECONDS) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SOAK_REPORT),--markdown $(SOAK_REPORT))

fuzz: $(BIN)/.fuzz ## search for inputs that break a promise, guided by coverage (FUZZ_SECONDS=60)
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

clean:           ## remove what was built here: .venv, the models' virtualenvs, run-time state
	rm -rf .venv envs/built .crema

$(BIN)/uv:
	@echo "setting up .venv"
	@$(PYTHON) scripts/bootstrap.py $(CHOOSE) .venv

$(BIN)/.run: requirements.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/python scripts/link_source.py
	@touch $@

$(BIN)/.dev: requirements.dev.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.dev.lock
	@$(BIN)/python scripts/link_source.py
	@touch $@ $(BIN)/.run

$(BIN)/.fuzz: tests/fuzz/requirements.lock | $(BIN)/.dev
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/fuzz/requirements.lock
	@touch $@
