# The first Python of this list that is 3.11 or newer, unless the environment or the command line names one.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-all lint wheel-check lowest-check clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python from 3.11 on was found: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "installing into $(VENV) for $(PYTHON), `$(PYTHON) --version`"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,dev]'
	@# an example uses only lightly's loss; its dependency torchvision would replace the torch above
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps lightly
	touch $@

# Moving digits, from nothing to a report: prepare, train, evaluate.
demo: install
	rm -rf demo
	$(BIN)/seqviews prepare_smmnist --digits sklearn --out demo/data --clips 4000 500 1000 \
		--digits-per-clip 1 --frames 8 --size 16
	$(BIN)/seqviews train --config demo --data demo/data --out demo/run
	$(BIN)/seqviews evaluate --run demo/run --data demo/data --out demo/evaluation
	@echo "open demo/evaluation/report.html"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-all: lint
	$(BIN)/pytest -n 2 --dist loadfile

# Installs the wheel in a venv of its own and imports every module from another folder.
wheel-check: install
	rm -rf build dist
	$(BIN)/python -m build -q --wheel
	sh tests/check_wheel.sh "$(PYTHON)" dist/*.whl

# The lowest versions that pyproject.toml names, in a venv of their own.
lowest-check:
	sh tests/lowest_versions.sh "$(PYTHON)"

clean:
	rm -rf $(VENV) build dist demo *.egg-info
