# The commands of this repository. `make setup` makes .venv; `make test` is what CI runs.
.NOTPARALLEL:
.DEFAULT_GOAL := test
.PHONY: setup builds test demo bench bench-full bench-smoke instructions wheel soak lint fmt types layers rust tools clean

PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
RUST   := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name '*.sql' -o -name Cargo.toml)
PACKAGE := $(shell find python -name '*.py' -o -name '*.pyi')

setup: .venv/.built

.venv/.deps: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "outhaul needs Python 3.11 or newer; " \
		f"{sys.executable} is {sys.version.split()[0]}. Try: make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	$(PIP) install 'pip>=25.1'
	$(PIP) install --group dev
	@touch $@

# The extension, in release mode, beside the sources: what you edit in python/ is what runs.
.venv/.built: .venv/.deps $(RUST)
	PIP_QUIET=1 $(BIN)/maturin develop --release --quiet
	@touch $@

# The extension, and the tests of the core beside it: each build ends with a crate that keeps one processor busy alone.
builds:
	@cargo test --workspace --no-run --quiet & tests=$$!; $(MAKE) setup; made=$$?; wait $$tests && exit $$made

# Everything a change must pass. pytest's closing line is the last one.
test: builds tools lint types layers rust bench-smoke wheel
	$(BIN)/python -m pytest

lint: setup
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet

fmt: setup
	cargo fmt
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format --quiet

types: setup
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest outhaul._core

layers: setup
	$(BIN)/lint-imports --no-logo

rust:
	cargo test --workspace --quiet

demo: setup
	$(BIN)/python -m demo.run

# Side by side with what a user would pick instead; benches/README.md says how. `make bench
# BENCH="enqueue noop --rounds 3"` runs some of it.
bench: setup
	@URLLIB3_NO_OVERRIDE=1 $(PIP) install --no-binary urllib3-future --group peers && \
		$(PIP) install --no-deps --group peers-apart || \
		echo 'the peers cannot be installed: their rows stay empty'
	$(BIN)/outhaul bench --out benches/results $(BENCH)

# Every peer and every contest.
bench-full:
	@$(MAKE) bench BENCH="--full $(BENCH)"

# What the core's operations cost from now on: benches/instructions.json, to be committed.
instructions: setup
	$(BIN)/python -m tests.performance.instructions

# Every benchmark runs once, with the peers that are installed, so that none rots.
bench-smoke: setup
	$(BIN)/python -m pytest benches --quiet --no-header --benchmark-disable

# Hours, not minutes: the same tests with more examples, and the debug build's assertions, optimised.
soak: export CARGO_PROFILE_DEV_OPT_LEVEL = 2
soak: setup
	OUTHAUL_SIMULATIONS=2000 cargo test --workspace -- --include-ignored
	PIP_QUIET=1 $(BIN)/maturin develop --quiet
	@rm -f .venv/.built
	HYPOTHESIS_PROFILE=long OUTHAUL_KILLS=1000 $(BIN)/python -m pytest --timeout 0

# One wheel for every Python from 3.11 (abi3).
wheel: dist/.stamp

dist/.stamp: .venv/.deps $(RUST) $(PACKAGE) README.md $(wildcard LICENSE-*)
	@mkdir -p dist && rm -f dist/*.whl
	PIP_QUIET=1 $(BIN)/maturin build --release --quiet --out dist
	@touch $@

# A real proxy server for the HTTP tests, and what counts instructions. Where they can't be had, their
# tests are skipped and say so.
tools:
	@command -v nginx >/dev/null && command -v valgrind >/dev/null || { [ "$$(id -u)" = 0 ] && \
		command -v apt-get >/dev/null && { apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y \
		--no-install-recommends nginx valgrind; } >/dev/null 2>&1; } || \
		echo 'nginx or valgrind is not installed: their tests will be skipped'

clean:
	rm -rf .venv dist .benchmarks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f python/outhaul/_core*.so
