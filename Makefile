# run, test, check, bench, bench-peers, long, torture and lock, each from a machine that has only make and python3 (3.11 or newer).
# What measures times runs alone; what needs the database runs again on PostgreSQL,
# but for what is indifferent to which one it is.

PORT ?= 8000
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes
TEST := $(BIN)/python -m pytest
BESIDE := --numprocesses 4 --dist loadfile --no-loadscope-reorder
INDIFFERENT := $(addprefix tests/,llm tools bench torture browser system) $(wildcard tests/access/test_matrix*.py) tests/chat/rest/test_doors.py
LONG_ONES := test_cluster_*.py test_gateway.py test_kill.py test_never_reads.py test_nginx_for_minutes.py test_openapi.py test_silence.py
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

.PHONY: run test check bench bench-peers long torture torture-mutants lock

run: $(VENV)/installed
	@$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT))).close()' 2>/dev/null || \
		{ echo "Port $(PORT) is in use. Choose another one: make run PORT=$$(($(PORT) + 1))" >&2; exit 1; }
	@DEBUG=1 $(BIN)/python manage.py migrate --verbosity 0
	@echo "Verbatim is at http://127.0.0.1:$(PORT)/"
	@DEBUG=1 exec $(BIN)/daphne -v 0 -b 127.0.0.1 -p $(PORT) config.asgi:application

test: $(VENV)/installed-dev
	$(TEST) $(BESIDE) -m "not alone"
	$(TEST) tests/system -m alone
	$(TEST) $(BESIDE) $(INDIFFERENT:%=--ignore=%) -p tests.postgres -m database

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	DEBUG=1 $(BIN)/python manage.py check

bench: $(VENV)/installed-dev
	$(BIN)/python -m bench $(BENCH)

bench-peers: $(VENV)/installed-dev $(PEERS)/installed
	$(BIN)/python -m bench peers $(BENCH)

long: $(VENV)/installed-dev
	LONG=1 $(TEST) --override-ini faulthandler_timeout=3600 $(LONG_ONES:%=tests/system/%)

torture: $(VENV)/installed-dev
	$(BIN)/python -m tests.torture --turns $(or $(N),100) $(if $(N),--cell 20) --seconds $(or $(SECONDS),7200) $(TORTURE)

torture-mutants: $(VENV)/installed-dev
	$(BIN)/python -m tests.torture.hunt $(MUTANTS)

lock: $(VENV)/installed-dev
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --group dev --output-file requirements-dev.txt
	$(LOCK) bench/peers/requirements.in --output-file bench/peers/requirements.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Verbatim needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(BIN)/python
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt | $(BIN)/python
	$(INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/installed

$(PEERS)/installed: bench/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
