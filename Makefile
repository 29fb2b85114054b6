# Needs python3 (3.11 or newer) and make. Everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := kmeans_dask jobs tests benchmarks docs docker examples
# The versions to install: another file for the lowest ones, for example.
CONSTRAINTS ?= constraints.txt

.PHONY: demo test test-all lint types chaos compose-test audit bench pictures docs clean

# The colour photographs that scikit-image installs.
PHOTOGRAPHS = astronaut.png chelsea.png coffee.png hubble_deep_field.jpg motorcycle_left.png \
	motorcycle_right.png retina.jpg rocket.jpg

demo: $(VENV)/.demo
	@photos=$$($(BIN)/python -c 'import skimage.data; print(skimage.data.data_dir)'); \
	$(BIN)/kmeans-dask compress $(PHOTOGRAPHS:%="$$photos"/%) demo --colors 64 --overwrite
	@echo "Look at demo/report.html, and at demo/: the same photographs in 64 colours."

# Options of pytest, as PYTEST="--basetemp FOLDER": where tests make their files.
TEST = $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

# All but the slow tests, in a few minutes.
test: lint types
	$(TEST) -m "not slow" $(PYTEST)

# All tests: the slow ones start clusters, servers, browsers and many commands.
test-all: lint types
	$(TEST) $(PYTEST)

lint: $(VENV)/.test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy

# The long form of what `make test-all` tries briefly: some minutes of kills, damages and strange files.
chaos: $(VENV)/.test
	$(BIN)/pytest tests/reliability tests/images/test_inspector.py --chaos --timeout 3000

# The stack of docker-compose.yml, built and used for real: some minutes, and a Docker engine.
# Where the official Python image cannot be had, name another one: make compose-test BASE=...
compose-test: $(VENV)/.test
	$(if $(BASE),BASE=$(BASE) )$(BIN)/python -m tests.compose

# Known vulnerabilities of what constraints.txt pins. Needs the network, and says if there is none.
audit: $(VENV)/.audit
	@$(BIN)/python .ci/audit $(BIN)/pip-audit --requirement constraints.txt --disable-pip --no-deps \
		--progress-spinner off --format json

bench: $(VENV)/.test
	for table in fit arrays seeding scaling restarts ingest private encoding floor instant many \
		report storage units scheduler; do \
		$(BIN)/python -m benchmarks.$$table || exit 1; done

pictures: $(VENV)/.test
	photos=$$($(BIN)/python -c 'import skimage.data; print(skimage.data.data_dir)'); \
	$(BIN)/python docs/pictures.py $(PHOTOGRAPHS:%="$$photos"/%)
	$(BIN)/python docs/quality_pictures.py

# The documentation site, in _site/: any warning is an error.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs _site

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "kmeans-dask needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test]'
	@touch $@

$(VENV)/.audit: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[audit]'
	@touch $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) demo _site .mypy_cache .pytest_cache .ruff_cache .hypothesis
