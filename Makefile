# The targets a user needs: bench, test, kernel, lint. Each sets up what it needs, once.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
ARGS ?=
# The revisions of compare and instructions-against.
BASE ?= main
HEAD ?= HEAD
# Windows has another name for the folder of an environment's programs, and another separator in PATH.
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
SEPARATOR := ;
else
BIN := $(VENV)/bin
SEPARATOR := :
endif

DEPENDENCIES := $(VENV)/.dependencies
KERNEL := $(VENV)/.kernel
RUST_FILES := Cargo.toml Cargo.lock $(shell find rust_kmeans -name '*.rs' -o -name '*.toml')

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export VIRTUAL_ENV := $(VENV)
# Tools of ours come from the environment made here, whatever else is active.
export PATH := $(BIN)$(SEPARATOR)$(PATH)

# The part of the counts that is no crate of ours: the version must be that of the crate gungraun in Cargo.lock.
GUNGRAUN := $(shell sed -n '/^name = "gungraun"$$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
COUNTER := $(CURDIR)/target/tools-$(GUNGRAUN)/bin/gungraun-runner

MEMCHECK := --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite

.PHONY: help bench test test-python test-peers test-spark test-rust kernel peers spark lint constraints docs clean \
    instructions instructions-against compare history memcheck fuzz roofline growth load-service wheel \
    portable-wheel sdist test-wheel test-sdist

help:
	@echo 'make bench    set up, build, run python runner.py --sizes 1e3..1e6 (more options: ARGS="--quick")'
	@echo 'make test     set up, build, run every test and the linters'
	@echo 'make kernel   build the extension module and the kmeans binary in release mode'
	@echo 'make lint     ruff, mypy, stubtest, rustfmt, clippy, zizmor and the schema of the workflows'
	@echo 'make compare  this revision against another, built side by side (BASE=main HEAD=HEAD)'
	@echo 'make history  measure the seed matrix, add it to results/history.csv, look for steps'
	@echo 'make peers    install the libraries of the headline comparison: faiss, scikit-learn-intelex, ...'
	@echo 'make test-peers    the tests that need them'
	@echo 'make spark    install PySpark (460 MB to download; Java 17 or newer comes from the system)'
	@echo 'make test-spark    the tests that run Spark'
	@echo 'make instructions  count the instructions of the kernel against the last run (needs valgrind)'
	@echo 'make instructions-against   the same against another revision (BASE=main)'
	@echo 'make memcheck      run the tests of the core under valgrind'
	@echo 'make fuzz          throw many random arguments at the extension module'
	@echo 'make roofline      the dense kernel against the limits of this machine (ARGS="--quick")'
	@echo 'make growth        time of an iteration against the number of rows (ARGS="--largest 1e8")'
	@echo 'make load-service  requests and rows per second of the service (ARGS="--soak 120": its memory)'
	@echo 'make wheel         build the wheel into dist/ (make sdist: the source distribution)'
	@echo 'make portable-wheel  the same for Linux machines older than this one (TARGET, TAG)'
	@echo 'make test-wheel    (test-sdist) build the wheel, install it into an empty environment, run the tests of the library there'
	@echo 'make docs     build the documentation into docs/_build'
	@echo 'make constraints   resolve the pins of constraints.txt again'
	@echo 'make clean    remove the environment and what was built; data and results stay'

bench: $(KERNEL)
	$(BIN)/python runner.py --sizes 1e3..1e6 $(ARGS)

test: lint docs test-rust test-python

# Side by side, as many tests wait for processes that start.
test-python: $(KERNEL)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-peers: $(KERNEL) peers
	$(BIN)/python -m pytest -m peers

test-spark: $(KERNEL) spark
	$(BIN)/python -m pytest -m spark

test-rust:
	cargo test --workspace --locked

# ARGS="--save-baseline=NAME", then ARGS="--baseline=NAME --callgrind-limits=ir=1%", fails where a count grew by more.
instructions: $(COUNTER)
	$(need_valgrind)
	GUNGRAUN_RUNNER=$(COUNTER) cargo bench --package rust_kmeans_core --locked --bench instructions -- $(ARGS)

$(COUNTER):
	$(need_valgrind)
	cargo install gungraun-runner --version =$(GUNGRAUN) --locked --quiet --root $(CURDIR)/target/tools-$(GUNGRAUN)

# The counts of BASE, from a worktree that is taken away again, then those of this tree against them.
instructions-against: $(COUNTER)
	$(need_valgrind)
	tree=$$(mktemp -d) && trap 'git worktree remove --force "$$tree"' EXIT && \
	    git worktree add --quiet --detach "$$tree" "$(BASE)" && \
	    (cd "$$tree" && CARGO_TARGET_DIR=$(CURDIR)/target/base $(MAKE) instructions \
	        COUNTER=$(COUNTER) ARGS="--save-baseline=base --home=$(CURDIR)/target/gungraun $(ARGS)")
	$(MAKE) instructions ARGS="--baseline=base --callgrind-limits=ir=1% --home=$(CURDIR)/target/gungraun $(ARGS)"

compare: $(KERNEL)
	$(BIN)/python runner.py compare $(BASE) $(HEAD) $(ARGS)

history: $(KERNEL)
	$(BIN)/python runner.py --preset seed --implementations rust,sklearn-lloyd --results results/nightly --fresh $(ARGS)
	$(BIN)/python -m harness.history results/nightly results/history.csv results/steps.md

# Few cases: every instruction takes some fifty times as long.
# Left out: a million samples, which take minutes here; what they do to memory fewer samples do in other tests.
memcheck:
	$(need_valgrind)
	PROPTEST_CASES=$${PROPTEST_CASES:-4} cargo test --package rust_kmeans_core --locked --lib --tests \
	    --config 'target."cfg(all())".runner = "valgrind $(MEMCHECK)"' \
	    -- --skip runs_that_do_not_fit_into_memory_together

fuzz: $(KERNEL)
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-10000} $(BIN)/python -m pytest tests/library/test_fuzz.py -x $(ARGS)

roofline:
	cargo bench --package rust_kmeans_core --locked --quiet --bench roofline -- $(ARGS)

growth: $(KERNEL)
	$(BIN)/python -m rust_impl.growth $(ARGS)

load-service: $(KERNEL)
	$(BIN)/python -m tests.load_service $(ARGS)

# Only the newest build is left in dist/. ARGS="--target ..." for another platform.
wheel: $(DEPENDENCIES)
	rm -f dist/*.whl
	$(BIN)/maturin build --release --locked --quiet --out dist $(ARGS)

# For any Linux whose C library is as old as the tag says, or musl: TARGET=aarch64-unknown-linux-musl TAG=musllinux_1_2
TARGET ?= x86_64-unknown-linux-gnu
TAG ?= manylinux2014
portable-wheel: $(DEPENDENCIES)
	$(BIN)/python -m pip install --quiet --group portable
	$(MAKE) wheel ARGS="--zig --target $(TARGET) --compatibility $(TAG) $(ARGS)"

sdist: $(DEPENDENCIES)
	rm -f dist/*.tar.gz
	$(BIN)/maturin sdist --quiet --out dist

test-wheel: wheel
	$(BIN)/python -m tests.wheel dist

# The wheel that the source distribution builds.
test-sdist: sdist
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz
	$(BIN)/python -m tests.wheel dist

define need_valgrind
@command -v valgrind >/dev/null || { echo 'error: no valgrind; install it (Debian: apt install valgrind)' >&2; exit 1; }
endef

define build
	$(BIN)/maturin develop --release --locked --quiet
	cargo build --release --locked --quiet --package rust_kmeans_cli
	@touch $(KERNEL)
endef

kernel: $(DEPENDENCIES)
	$(build)

lint: $(KERNEL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest rust_kmeans._core
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: $(KERNEL)
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env --builder html docs docs/_build

# uv, because pip installs an extra only together with the project, which is built apart.
peers spark: $(DEPENDENCIES)
	$(BIN)/uv pip install --quiet --compile-bytecode --constraints constraints.txt \
	    --requirements pyproject.toml --extra $@

constraints: $(DEPENDENCIES)
	$(BIN)/uv pip compile pyproject.toml --group bench --group dev --group docs --group portable --all-extras --universal \
	    --python-version 3.11 --no-header --no-annotate --upgrade --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV) target docs/_build

$(DEPENDENCIES): pyproject.toml constraints.txt
	@command -v cargo >/dev/null || { echo 'error: no cargo; install Rust 1.89 or newer' >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group bench --group dev --group docs
	@touch $@

$(KERNEL): $(DEPENDENCIES) $(RUST_FILES)
	$(build)
