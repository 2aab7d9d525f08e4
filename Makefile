# study · test · check · docs · paper · bench: each sets up what it needs, once.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS := 1

.PHONY: study test check docs paper bench format clean help
.DEFAULT_GOAL := help

help:
	@echo "make study   set up, then compare clipping, gradient penalty and spectral normalization on MNIST"
	@echo "make test    set up, then run the tests"
	@echo "make check   set up, then ruff and pyright"
	@echo "make docs    set up, then what README and docs generate from results/"
	@echo "make paper   set up, TeX included, then build paper.pdf and poster.pdf from results/"
	@echo "make bench   set up, then the benchmarks, side by side"

# The marker is newer than what it was made from, so that a second call does no set-up work.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt torch==2.13.0 --editable '.[dev]'
	@touch $@

study: .venv/.ready
	$(BIN)/onelip study quick

test: .venv/.ready
	$(BIN)/python -m pytest -q -n 2

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: .venv/.ready
	$(BIN)/python -m documents

paper: .venv/.ready
	paper/install-tex
	$(BIN)/python -m paper.build

bench: .venv/.ready
	$(BIN)/python -m benchmarks

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis
