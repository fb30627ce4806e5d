# Everything a newcomer needs: `make demo` and `make test`. Only Python 3.11+ and git are assumed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Empty: the default index. CPU-only users may point it at PyTorch's CPU wheels (see README).
TORCH_INDEX_URL ?=
WORKERS ?= 2
export TOKENIZERS_PARALLELISM = false

.PHONY: install demo test check format experiments bench docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Assent needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/assent demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

experiments: install
	$(BIN)/python -m experiments $(ONLY)

bench: install
	$(BIN)/python -m benchmarks $(ONLY)

docs: install
	$(BIN)/python -m experiments --summary

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
