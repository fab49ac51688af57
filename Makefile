# Two commands: `make quickstart` and `make test`. Both install everything they need into .venv, once.

PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: quickstart test lint soak clean lock

quickstart: .venv/.installed
	$(BIN)/jackpot run quickstart

# Slow tests start Ray, MLflow and many processes; `make test PYTEST="-m 'not slow'"` leaves them out.
test: .venv/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak" $(PYTEST)

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What takes long: many kills, a whole quickstart watched.
soak: .venv/.installed
	$(BIN)/python -m pytest -m soak -s $(PYTEST)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# The pinned packages, from the ranges in pyproject.toml. No line names where a package comes from.
lock: .venv/.installed
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --upgrade --quiet --output-file requirements.txt

# uv installs the whole CUDA stack several times faster than pip does; it is itself pinned with its hash.
.venv/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	awk '/^uv==/ {on=1} on {print; if ($$0 !~ /\\$$/) exit}' requirements.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
