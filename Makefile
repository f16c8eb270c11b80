# make run: install, train a model, promote it, score a small file with it.   make test: everything that guards the project.
# make serve: servers, schedules and one worker on this machine, until Ctrl-C; options in SERVE, such as --mlflow-port 0.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
CORE := .venv/.core
DEV := .venv/.dev

export PATH := $(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GOMP_SPINCOUNT := 1000
export MPLBACKEND := Agg
# Some shells and images forbid Python to keep bytecode. Each start then compiles some 4,000 modules: 5 to 9 s of CPU.
unexport PYTHONDONTWRITEBYTECODE

# Many tests start servers and wait for them: one process more than there are cores has work meanwhile.
TESTERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

SERVE ?=
STACK ?=

.PHONY: run serve stack stack-test test install core check docs screenshots repository lock sbom licences audit wheel
.PHONY: wheelhouse
.NOTPARALLEL:

run: repository core
	@python -m flows.quickstart

serve: repository core
	@exec python -m flows.serve $(SERVE)

# The production shape of deploy/compose.yaml as processes of this machine, until Ctrl-C; needs postgresql and nginx.
stack: repository install
	@exec python -m deploy.stack $(STACK)

# The life of a model on it, then rounds of faults; about half an hour. A table says what held.
stack-test: repository install
	@python -m deploy.stack_test $(STACK)

test: check
	pytest --numprocesses=$(TESTERS) --dist=loadfile

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

# The pictures of the triage page in docs/assets; it needs Chromium.
screenshots: install
	@python -m docs.tools.screenshots

# The supply chain: hashes of all libraries (needs uv), bill of materials, page of licences, known faults (needs a
# network), and the wheel of the last commit.
lock:
	@.ci/lock

sbom: core
	@mkdir -p build && python -m pipeline.serving.sbom build/sbom.cdx.json

licences: install
	@python -m docs.tools.licences

audit: install
	@.ci/audit

wheel: core
	@.ci/wheel

# All that an install without a network takes, in build/wheelhouse: FLOWSCULPT_WHEELHOUSE=build/wheelhouse make install
wheelhouse: core
	@.ci/wheelhouse

# Asked before the install, so that nobody waits for it in vain.
repository:
	@git rev-parse --git-dir > /dev/null 2>&1 || { \
		echo "this folder is no git repository, and DVC does not work without one: it compares settings and code with" >&2; \
		echo "those of the last commit; run: git init && git add --all && git commit --message start" >&2; exit 1; }

# DVC's cache of pickles becomes this user's alone, where it would be a folder that everybody may write.
core: $(CORE)
	@python -m flows.runtime.site_cache

install: $(DEV) core

# What a run needs, in .venv; and beside it the tools of development, which `make run` does without.
$(CORE): pyproject.toml constraints.txt .ci/install .ci/tell_uv
	@PYTHON='$(PYTHON)' .ci/install '.[all]'
	@touch $@

$(DEV): pyproject.toml constraints.txt .ci/install .ci/tell_uv
	@PYTHON='$(PYTHON)' .ci/install '.[dev]'
	@touch $(CORE) $@
