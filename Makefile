# Each target makes .venv by itself when it is missing or pyproject.toml has changed.
# PYTHON chooses the interpreter (3.11 or newer), ARGS goes to `piperd run`, pytest and the benchmarks.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := $(wildcard daemon tests benchmarks docs)
DEMO := build/demo
# inputs of inbox-example/ that are wrong on purpose
DEMO_FAILURES := 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo run test torture check format bench docs clean
.DELETE_ON_ERROR:

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.* ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python --editable '.[dev]'; \
	else \
	  "$(PYTHON)" -m venv $(VENV) && $(BIN)/python -m pip install --quiet --editable '.[dev]'; \
	fi
	@touch $@

demo: $(READY) ## speak the files of inbox-example/ and show what came of each
	@rm -rf $(DEMO) && mkdir -p $(DEMO) && cp -R inbox-example $(DEMO)/inbox
	@$(BIN)/python docs/second_voice.py $(DEMO)/voices
	@printf '%s\n' '[folders]' 'inbox = "inbox"' 'outbox = "outbox"' 'archive = "archive"' 'failed = "failed"' 'state = "state"' \
	  '[voices]' 'dirs = ["voices"]' > $(DEMO)/piperd.toml
	@$(BIN)/piperd run --drain --config $(DEMO)/piperd.toml; code=$$?; \
	failures=$$(find $(DEMO)/failed -type f 2>/dev/null | wc -l); \
	if [ $$code -ne 1 ] || [ $$failures -ne $(DEMO_FAILURES) ]; then \
	  echo "The demo went wrong: exit code $$code, $$failures failures instead of $(DEMO_FAILURES)." >&2; exit 1; \
	fi
	@echo "$(DEMO_FAILURES) of the examples are wrong on purpose. All results are in $(DEMO)/outbox."

run: $(READY) ## run the daemon here, in ~/piperd or as ARGS say: make run ARGS="--workers 1"
	@$(BIN)/piperd run $(ARGS)

test: check ## check, then run all tests: make test ARGS="-k scheduler"
	@$(BIN)/pytest -q $(ARGS)

torture: $(READY) ## kill, starve and fill it in every way we know; an hour, and a table at the end
	@$(BIN)/pytest -q tests/crash --torture $(ARGS)

check: $(READY) ## ruff and mypy
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary $(CODE)

format: $(READY) ## let ruff lay out the code
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: $(READY) ## measure all, in half an hour, and rewrite benchmarks/README.md: make bench ARGS="latency jobs"
	@$(BIN)/python -c 'import flask, loudness_tts, matplotlib, sherpa_onnx' 2>/dev/null || \
	  if command -v uv >/dev/null; then uv pip install --quiet --python $(BIN)/python --editable '.[bench]'; \
	  else $(BIN)/python -m pip install --quiet --editable '.[bench]'; fi
	@$(BIN)/python benchmarks $(ARGS)

docs: demo ## speak the examples, and draw the picture of docs/narration.md from one of them
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[docs]'
	@$(BIN)/python docs/narration.py "$(DEMO)/outbox/the lighthouse.wav" docs/narration.png

config/piperd.toml: $(READY) daemon/piperd/options.py daemon/piperd/settings.py daemon/piperd/manual.py
	@$(BIN)/python -c 'from piperd.settings import toml_template; print(toml_template(), end="")' > $@

config/folder.toml: $(READY) daemon/piperd/jobfields.py daemon/piperd/jobfile.py daemon/piperd/manual.py
	@$(BIN)/python -c 'from dataclasses import asdict; from piperd import jobfields, jobfile, manual; \
	  print(manual.folder_template(jobfields.FolderWishes, asdict(jobfile.Defaults())), end="")' > $@

clean: ## remove all that make has made: .venv, build, caches
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
