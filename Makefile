# The commands of this repository: `make help` lists them. Each sets up what it needs in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
READY := $(VENV)/.installed
PORT ?= 5000
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input

# To make an environment anew empties its folder, and through a link that of whoever else uses it.
no_link = [ ! -L $(1) ] || { echo "$(1) is a link to $$(readlink $(1)), which would be emptied or changed for whoever else" \
	"uses it: remove the link, and make sets up an environment of its own." >&2; exit 1; }

# `python` and `dvc` in dvc.yaml are this environment's.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Nothing phones home, and nothing is fetched behind your back: only where parameters name something on the hub does the stage
# that fetches it lift this for itself (docs/bases.md).
export HF_HUB_OFFLINE ?= 1
export TRANSFORMERS_OFFLINE ?= $(HF_HUB_OFFLINE)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
# In a container a user may have a number alone, and DVC asks for a name.
export USER ?= $(shell id -u)

.PHONY: help repro base test test-long test-all test-older check ui run publish profile study study-report estimate remote plan flow serve doctor gc rebuild gpu-check quality

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

repro: $(READY)  ## run the whole experiment; what is up to date is skipped
	@python -m lab.preflight
	dvc repro

base: $(READY)  ## train the built-in base (40 minutes on two cores); nothing else does
	TACA_TRAIN_BASE=1 dvc repro -f -s base

# A file's tests run in one process, which makes the fixtures of that file once; each process loads torch, so they are few.
PYTEST := python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## fast tests on all cores: no network, no GPU
	$(PYTEST) -m "not long and not slow and not gpu"

test-long: $(READY)  ## tests that take some seconds each, and the published profiles from hub to report
	$(PYTEST) -m "long and not slow and not gpu"

test-all: $(READY)  ## all tests, the slow ones too
	$(PYTEST)

# The older of the two minors of diffusers that the library supports, in front of the environment's own.
OLDER := $(CURDIR)/.venv-older

test-older: $(OLDER)/.installed  ## the library's tests of every family with the older diffusers that it supports
	@export PYTHONPATH=$(OLDER); python -c "from importlib.metadata import version; print('diffusers', version('diffusers'))" && \
	$(PYTEST) -m "not slow and not gpu" $(addprefix tests/taca/test_,$(addsuffix .py,coverage families family_pipelines \
		observed_families combinations private_names hops))

$(OLDER)/.installed: requirements-older.lock $(READY)
	@rm -rf $(OLDER) && mkdir $(OLDER)
	@$(PIP) install -q --no-deps --require-hashes --target $(OLDER) -r requirements-older.lock
	@touch $@

check: $(READY)  ## style, import layers, types, and whether the committed base is what its code and parameters make
	ruff check .
	ruff format --check .
	lint-imports
	mypy
	@dvc status -q base || { echo "Stage base is out of date: its parameters or a module that it depends on have changed;" \
		"run 'make base' (40 minutes on two cores) and commit models/base and dvc.lock." >&2; exit 1; }

ui: $(READY)  ## open the runs in MLflow (PORT=5000)
	@exec python -m flows.ui --port $(PORT)

run: $(READY)  ## find the MLflow run that made an output, by its hash (HASH=... from dvc.lock or the report)
	@python -m runtime.tracking.find $(HASH)

publish: $(READY)  ## copy an adapter with its model card to a folder (ADAPTER=taca-r16 TO=folder)
	@python -m lab.publish "$(ADAPTER)" "$(TO)"

profile: $(READY)  ## rewrite params.yaml for a profile and show the change (PROFILE=quick, PROFILE=flux-dev-smoke)
	@python -m lab.params.profile $(PROFILE)

study: $(READY)  ## write a page on which people compare two arms' images (ARMS="baseline taca-r64", PAIRS=25, SEED=0)
	@python -m lab.study page $(ARMS) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SEED),--seed $(SEED))

study-report: $(READY)  ## tally what raters sent back (STUDY=results/study/NAME, ANSWERS="answers-1.json answers-2.json")
	@python -m lab.study report $(STUDY) $(ANSWERS)

estimate: $(READY)  ## say what params.yaml or PROFILE=name will need: GPU memory, hours, disk, download (PRICE=2.5 an hour)
	@python -m lab.preflight $(if $(PROFILE),--profile $(PROFILE)) || [ $$? = 1 ]
	@python -m lab.estimate $(PROFILE) $(if $(PRICE),--price $(PRICE))

remote: $(READY)  ## share data through a folder or s3:// (URL=...); then `dvc push` and `dvc pull`
	@[ -n "$(URL)" ] || { echo "Say where: make remote URL=/a/folder or URL=s3://bucket/path." >&2; exit 1; }
	dvc remote add --local --default --force storage "$(URL)"

plan: $(READY)  ## say what a flow would run and why (TARGETS="stage ...")
	@python -m flows.pipeline --plan $(TARGETS)

flow: $(READY)  ## run the stages as a Prefect flow, those that do not need each other at once (TARGETS="stage ...")
	@python -m flows.pipeline $(TARGETS)

sweep: $(READY)  ## run the missing cells of a sweep (SWEEP=table4, or another file of experiments/sweeps)
	@[ -n "$(SWEEP)" ] || { echo "Say which: make sweep SWEEP=name, one of $$(cd experiments/sweeps && ls *.yaml | sed 's/.yaml//' | xargs)." >&2; exit 1; }
	@python -m flows.sweep $(SWEEP)

serve: $(READY)  ## keep Prefect with its schedules, a worker and MLflow running until Ctrl-C (PORT=5000)
	@exec python -m flows.serve --port $(PORT)

doctor: $(READY)  ## say what is wrong with this installation, and the remedy
	@python -m flows.doctor

gc: $(READY)  ## show what no run refers to in DVC, MLflow and .work (REMOVE=1 removes it, DAYS=30)
	@python -m flows.gc $(if $(REMOVE),--remove) $(if $(DAYS),--days $(DAYS))

rebuild: $(READY)  ## make an MLflow run of a stage again and say whether it comes out the same (RUN=id)
	@[ -n "$(RUN)" ] || { echo "Say which: make rebuild RUN=id, with an id from 'make ui' or 'make run HASH=...'." >&2; exit 1; }
	@python -m flows.rebuild $(RUN)

# The benchmark's tagger does not install beside this stack; its model's release publishes no hash, so this one is that
# which others' lists of packages have.
PARSER := .venv-parse
PROMPTS ?= compbench/val_prompts
RELEASE := https://github.com/explosion/spacy-models/releases/download/en_core_web_sm-3.5.0
WHEEL := $(RELEASE)/en_core_web_sm-3.5.0-py3-none-any.whl
MODEL ?= $(WHEEL)\#sha256=0964370218b7e1672a30ac50d72cdc6b16f7c867496f1d60925691188f4d2510
PARSES = data/parses/$(notdir $(abspath $(PROMPTS))).jsonl

parse: $(READY)  ## parse the benchmark's prompts, or those in PROMPTS=folder, with its own tagger (MODEL=wheel: from a file)
	@$(call no_link,$(PARSER))
	@uv venv -q --clear --python 3.11 $(PARSER)
	@uv pip install -q --python $(PARSER)/bin/python --require-hashes -r requirements-parse.lock
	@uv pip install -q --python $(PARSER)/bin/python --no-deps "$(MODEL)" || { \
		echo "The tagger's model was not installed; without network, fetch $(WHEEL)" \
		"elsewhere and run 'make parse MODEL=<its path>'." >&2; exit 1; }
	@$(PARSER)/bin/python -P compbench/parsing/make_parses.py "$(PROMPTS)" "$(PARSES)"

gpu-check: $(READY)  ## measure training and drawing on this machine's NVIDIA GPU, in nine minutes (benchmarks/results/gpu-NAME.json)
	python -m benchmarks.gpu
	@python -m benchmarks.table

quality: $(READY)  ## install the image quality metrics MUSIQ and MANIQA; their licence allows non-commercial use only
	@echo "pyiqa is licensed under PolyForm-Noncommercial-1.0.0: non-commercial use only. Installing it into $(VENV)."
	@$(PIP) install -q --require-hashes -r requirements-quality.lock

# An installation that was interrupted leaves .installing behind, and starts anew. uv takes a third of pip's time, and knows
# none of pip's settings, such as an index of your own.
$(READY): requirements.lock pyproject.toml
	@$(call no_link,$(VENV))
	@if [ -e $(VENV)/.installing ] || ! $(PIP) --version >/dev/null 2>&1; then \
		for python in python3.11 python3.12 python3.13 python3; do \
			$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
			python=; \
		done; \
		[ -n "$$python" ] || { echo "Python 3.11, 3.12 or 3.13 is needed and none is on the PATH; install one." >&2; exit 1; }; \
		$$python -m venv --clear $(VENV); \
	fi
	@echo "Installing the packages of requirements.lock into $(VENV); the first time takes some minutes."
	@touch $(VENV)/.installing
	@$(PIP) install -q --require-hashes -r <(awk '/^[^ ]/ { ours = /^uv==/ } ours' requirements.lock)
	@$(VENV)/bin/uv pip install -q --system-certs --compile-bytecode --python $(VENV)/bin/python --require-hashes \
		-r requirements.lock || { echo "uv could not install them: pip does, which takes longer." >&2; \
		$(PIP) install -q --require-hashes -r requirements.lock; }
	@$(PIP) install -q --no-deps --no-build-isolation --no-index -e .
	@rm $(VENV)/.installing
	@touch $@
