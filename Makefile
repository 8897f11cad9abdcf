# What a person types. Needs python3 (3.11 or newer, with venv), make and a network; nothing else.
#   make run       the market with demonstration data     (DATA=dir PORT=n)
#   make test      the whole suite                        (ARGS='-k word')
#   make lint      ruff, mypy --strict, import-linter
#   make bench     figures, written to benchmarks/results
#   make campaign  the long fault campaigns
#   make lock      renews the pins (needs uv)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV ?= $(if $(wildcard $(BIN)/uv),$(BIN)/uv,uv)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INPUTS := pyproject.toml hatch_build.py assets.lock.json
# Where this is set, every process that is started would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# The sealed children read bytecode and write none, so that it has to be there before them.
COMPILED = $(BIN)/python -m compileall -q -j 0 catalog validators schemas connectors tests

.PHONY: run test lint bench campaign lock install install-test system
.DELETE_ON_ERROR:

run: install
	@$(COMPILED)
	@$(BIN)/yaosu demo $(if $(DATA),--data "$(DATA)") $(if $(PORT),--port "$(PORT)")

test: install-test system
	@$(COMPILED)
	@# One process more than small machines have cores: a good part of a test is waiting.
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -rs -m "not slow" $(ARGS)

campaign: install-test system
	@$(COMPILED)
	@$(BIN)/python -m pytest -rs -m slow $(ARGS); code=$$?; \
	  $(BIN)/python benchmarks/campaigns.py && exit $$code

bench: install-test
	@$(COMPILED)
	@$(BIN)/python benchmarks/run.py $(ARGS)

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed-run
install-test: $(VENV)/.installed-test $(VENV)/clients/.installed

# Says what the suite needs from the system, and installs it where it may.
system:
	@sh .ci/system

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The lock holds the build backend too, so that the project itself installs without isolation;
# pip takes no editable project under --require-hashes, therefore two steps.
$(VENV)/.installed-run: requirements.lock $(INPUTS) | $(BIN)/pip
	@echo "installing into $(VENV) (a minute or two, once)"
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# A superset of the first lock with the same pins: it fulfils both.
$(VENV)/.installed-test: requirements-test.lock $(INPUTS) | $(BIN)/pip
	@echo "installing into $(VENV), tests included (a minute or two, once)"
	@$(PIP) install --quiet --require-hashes -r requirements-test.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(VENV)/.installed-run $@

# Clients of others that pin other versions than ours live in environments of their own; one that
# is more than the package of its name lists them in tests/clients/<name>.in.
CLIENTS := delta-sharing mlcroissant datasets
$(VENV)/clients/.installed: $(CLIENTS:%=tests/clients/%.lock) | $(BIN)/pip
	@for client in $(CLIENTS); do \
	  $(PYTHON) -m venv $(VENV)/clients/$$client && \
	  $(VENV)/clients/$$client/bin/python -m pip --disable-pip-version-check install --quiet \
	    --require-hashes -r tests/clients/$$client.lock || exit 1; done
	@touch $@

# Too large for everybody: `make client-torch`, and the tests that want it run.
client-%: | $(BIN)/pip
	$(PYTHON) -m venv $(VENV)/clients/$*
	$(VENV)/clients/$*/bin/python -m pip --disable-pip-version-check install --quiet $* numpy

COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
  --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --extra server --group build

lock:
	$(COMPILE) $(if $(UPGRADE),--upgrade) -o requirements.lock
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra postgres --extra sm2 --group test -c requirements.lock \
	  -o requirements-test.lock
	for client in $(CLIENTS); do (cat tests/clients/$$client.in 2>/dev/null || echo $$client) | $(UV) pip compile - --quiet --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-emit-index-url $(if $(UPGRADE),--upgrade) \
	  -o tests/clients/$$client.lock; done
	@! grep -nE '^--|://' requirements.lock requirements-test.lock tests/clients/*.lock
