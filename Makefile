# Thin aliases; the scripts are the truth.
.PHONY: setup run test lint format lock bench

setup:
	scripts/setup --dev
run:
	./run
test:
	./test
lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
format: setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
lock:
	scripts/lock
bench:
	bench/run
