# make run: install, run the main job, say where the results are.   make test: everything that guards the project.
# make serve: servers, schedules and one worker on this machine, until Ctrl-C; options in SERVE, such as --mlflow-port 0.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
STAMP := .venv/.installed

export PATH := $(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GOMP_SPINCOUNT := 1000
export MPLBACKEND := Agg
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SERVE ?=

.PHONY: run serve test install check docs

run: install
	@python -m flows.training

serve: install
	@exec python -m flows.serve $(SERVE)

test: check
	pytest --numprocesses=auto --dist=loadfile

check: install
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	codespell

# The documentation as a site, in build/site; it needs no network.
docs: install
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "build/site/index.html"

# DVC's cache of pickles becomes this user's alone, where it would be a folder that everybody may write.
install: $(STAMP)
	@python -m flows.runtime.site_cache

# Exact versions from constraints.txt; torch is taken as a CPU wheel where only that is at hand.
$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv (two to four minutes, once)"
	@$(PYTHON) -m venv .venv
	@python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@
