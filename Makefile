# make run            Install into .venv, and run the server, the back ends and the front end until Ctrl-C.
# make test           Install the packages of the tests, then lint, check types and run every test in TESTERS processes.
# make test-compiled  Run the tests of mqlight.amqp, dialects, net and server on the compiled build (part of make test).
# make test-pythons   Run the tests that depend on the Python, on every installed Python from 3.10 to 3.14.
# make docs           Make the site of docs/ in build/site, and fail at a dead link or an unknown name.
# make bench          Compare with nats-py and nats-server in one run.
# make bench-brokers  Compare with FastStream and nameko on RabbitMQ 4 in one run.
# make fuzz           Give RUNS hostile inputs to TARGET (sasl, value, message, topics, envelope, server ...: tests/fuzz).
# make soak           Make a million calls, and fail if memory or descriptors grow (SOAK_ARGS="--calls 100000").
# make clean          Remove .venv and build.
#
# Paths are relative and nothing goes through .venv/bin's scripts, whose first line breaks in a path with a space.

PYTHON ?= python3
AMQP_PORT ?= 5672
PORT ?= 8000
WORKERS ?= 1
export AMQP_PORT PORT WORKERS

TESTERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
TARGET ?= server
RUNS ?= 100000
FUZZ_ARGS ?=
SOAK_ARGS ?=

# The tests wait for real processes: those that fail on a busy machine run once more, alone, and both runs are shown.
ALONE = echo "The tests that failed run once more, alone:"
FAILED = -n 0 --last-failed --last-failed-no-failures none
COMPILES = command -v "$${CC:-cc}" >/dev/null 2>&1 && [ -z "$$MACAQUE_PURE" ]
PYTEST_COMPILED = ../../.venv/bin/python -m pytest tests/amqp tests/dialects tests/net tests/mqlight tests/server

.PHONY: help run test test-plain compiled test-compiled test-pythons docs bench bench-brokers fuzz soak clean

help:
	@sed -n 's/^# make/make/p' Makefile

run: .venv/.installed-run
	@exec .venv/bin/python scripts/run.py

test: .venv/.installed-test .venv/.installed-docs
	@./scripts/install-browser
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	@$(MAKE) --no-print-directory --jobs=2 test-plain test-compiled

test-plain: .venv/.installed-test
	.venv/bin/python -m pytest -n $(TESTERS) $(PYTEST_ARGS) || { $(ALONE); .venv/bin/python -m pytest $(FAILED) $(PYTEST_ARGS); }

# The compiler takes a minute of one core: it works while the plain tests wait for their processes.
compiled: .venv/.installed-test
	@if $(COMPILES); then nice ./scripts/compiled; fi

# The engine and the layers that stand on it run compiled as well as plain; without a C compiler, plain alone.
test-compiled: compiled $(filter test-plain,$(MAKECMDGOALS))
	@if $(COMPILES); then \
	    cd build/compiled && { $(PYTEST_COMPILED) -n $(TESTERS) || { $(ALONE); $(PYTEST_COMPILED) $(FAILED); }; }; \
	else echo "No C compiler: the tests ran on the plain build alone."; fi

test-pythons:
	@./scripts/test-pythons $(PYTEST_ARGS)

docs: .venv/.installed-docs
	@.venv/bin/python scripts/site.py
	@echo "The site is in build/site. To read it: .venv/bin/python -m http.server --bind 127.0.0.1 --directory build/site"

bench: .venv/.installed-bench
	./scripts/compiled
	cd build/compiled && ../../.venv/bin/python benchmarks/rpc.py $(BENCH_ARGS)

bench-brokers: .venv/.installed-run
	.venv/bin/python benchmarks/brokers.py $(BENCH_ARGS)

fuzz: .venv/.installed-fuzz
	.venv/bin/python tests/fuzz/run.py $(TARGET) -runs=$(RUNS) $(FUZZ_ARGS)

soak: .venv/.installed-run
	.venv/bin/python benchmarks/soak.py $(SOAK_ARGS)

clean:
	rm -rf .venv build

# A stamp is newer than what it was installed from, so a second run installs nothing.
INSTALLED_FROM = pyproject.toml scripts/install setup.py

.venv/.installed-run: $(INSTALLED_FROM)
	@PYTHON="$(PYTHON)" ./scripts/install run --editable '.[server,web]'

.venv/.installed-test: $(INSTALLED_FROM)
	@PYTHON="$(PYTHON)" ./scripts/install test --editable '.[server,web,test]'

.venv/.installed-docs: $(INSTALLED_FROM)
	@PYTHON="$(PYTHON)" ./scripts/install docs --editable '.[docs]'

.venv/.installed-bench: $(INSTALLED_FROM) benchmarks/requirements.txt
	@PYTHON="$(PYTHON)" ./scripts/install bench --editable '.[server,web]' -r benchmarks/requirements.txt

.venv/.installed-fuzz: $(INSTALLED_FROM) tests/fuzz/requirements.txt
	@PYTHON="$(PYTHON)" ./scripts/install fuzz --editable '.[server,web,test]' -r tests/fuzz/requirements.txt
