PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-browser torture notebooks figures docs lint package clean
.DEFAULT_GOAL := test

# Reinstalled when what to install changes, and only then.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@$(BIN)/python -m pip install --quiet --editable ".[crf]" >.venv/crf.log 2>&1; \
	$(BIN)/python -c "import pydensecrf" 2>/dev/null || \
	echo "No pydensecrf: it needs Python 3.11 or 3.12 and a C++ compiler (.venv/crf.log). The CRF runs in torch."
	touch $@

demo: .venv/installed
	$(BIN)/carlab demo

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile --nbval-lax notebooks

# Widgets in a real JupyterLab, in Chromium. Installs Chromium where that can be done; skips where it cannot.
test-browser: .venv/installed
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium) || true
	$(BIN)/python -m pytest -q -rs -m browser tests/browser

# Damaged traces, runs, references and images, any number of them: make torture INPUTS=1000000. Guided by coverage too
# where atheris can be installed.
INPUTS ?= 100000
torture: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --inputs $(INPUTS)
	$(BIN)/python -m pip install --quiet atheris || echo "No atheris for this Python: nothing is guided."
	for reader in trace refs image; do \
	! $(BIN)/python -c "import atheris" 2>/dev/null || \
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture.guided $$reader -runs=$(INPUTS) || exit 1; done

# Runs the notebooks in place: what they show is what the code gives.
notebooks: .venv/installed
	$(BIN)/python notebooks/execute.py

# The figures of the paper, re-drawn: figures/*.pdf and *.png.
figures: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m figures.make

# These pages, for a browser without a network: build/docs/index.html. A warning is an error; links are checked,
# and each page is opened where there is a Chromium.
docs: .venv/installed
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/docs
	CARLAB_DOCS=build/docs $(BIN)/python -m pytest -q -m docs tests/test_docs.py
	CARLAB_DOCS=build/docs $(BIN)/python -m pytest -q -rs -m browser tests/browser/test_docs.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What would be uploaded, checked: the source distribution, and the wheel that is built of it.
package: .venv/installed
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf .venv out build dist docs/api *.egg-info
