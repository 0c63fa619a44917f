# Two commands for a newcomer: `make study` and `make test`. `make help` lists the others.
#
# Both create .venv from the pinned requirements in envs/. `pip` decides where packages come
# from, so its usual settings (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf) choose the build of torch.

PYTHON ?= python3# the interpreter that .venv is made with: 3.11 or newer
STUDY ?=# a configuration laid over config.yaml, such as experiments/smoke.yaml
STUDIES ?=# names of finished studies, the one to compare with first
SWEEP ?=# a configuration with a key `sweep`, such as experiments/sweeps/ppo-learning-rate.yaml

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Stamps: younger than the lock when the environment agrees with it.
RUN_TIME := $(VENV)/.run-time
DEV := $(VENV)/.dev

CONFIG := $(if $(STUDY),--configfile $(STUDY))
NAME = $$(svdrift stages $(STUDY) | sed -n '1s/,.*//p')# of the study

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help study status sweep budget resume compare test test-all check unit workflow slurm validate bench bench-papers format lock docs site clean

# So that the workflow's own commands find the environment's programs.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# Snakemake names neither file nor line of a mistake in what --configfile names, so it is read before.
.PHONY: readable
study sweep budget resume: readable
readable: $(RUN_TIME)
	@python -m svdrift.study.overlays $(STUDY) $(SWEEP)

study: $(RUN_TIME) ## Run the default study, or another: make study STUDY=experiments/smoke.yaml
	snakemake --cores all $(CONFIG)
	@name=$(NAME); printf '%s\n' "Report:   results/$$name/report.html" \
		"Figures:  results/$$name/figures/" "Tables:   results/$$name/tables/"; \
	for page in results/$$name/papers/*/README.md; do \
		[ ! -f $$page ] || echo "Paper:    $$page"; done

status: $(RUN_TIME) ## What is done, what would run and why: make status [STUDY=experiments/smoke.yaml]
	@python -m svdrift status $(STUDY)

sweep: $(RUN_TIME) ## Run a study at each value of a setting: make sweep SWEEP=experiments/sweeps/….yaml
	snakemake --snakefile workflow/sweep.smk --cores all \
		--configfile $(or $(SWEEP),$(error name one: make sweep SWEEP=experiments/sweeps/….yaml))

budget: $(RUN_TIME) ## What a study would cost: GPU hours and disk: make budget [STUDY=…]
	@snakemake --cores 1 --quiet all $(CONFIG) -- budget

resume: $(RUN_TIME) ## Go on with a run on Slurm whose Snakemake was killed: make resume [STUDY=…]
	@python scripts/resume.py $(CONFIG)

compare: $(RUN_TIME) ## Set finished studies side by side: make compare STUDIES="default grpo"
	@python scripts/compare_studies.py $(STUDIES)

test: check unit workflow ## Run every check, and all tests but the long ones

test-all: SELECT =
test-all: TOGETHER += "slurm"
test-all: check unit workflow ## Run the long tests too, and those on a real Slurm (an hour)

SELECT = and not long# which tests
PYTEST = pytest

check: $(DEV) site ## Check format, lint and types, and that the documents make a site
	ruff format --check .
	ruff check .
	snakefmt --check Snakefile workflow
	mypy

unit: $(DEV) ## Run the unit tests
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 -m "not workflow $(SELECT)" --durations 20

workflow: $(DEV) ## Run the tests that run the real workflow
	@running=; for marks in $(TOGETHER); do \
		$(PYTEST) -v --durations 10 -m "$$marks $(SELECT)" > >(grep --line-buffered .) & \
		running="$$running $$!"; \
	done; failed=0; for one in $$running; do wait $$one || failed=1; done; exit $$failed

# In processes side by side, by what the tests share.
TOGETHER = "smoke" "workflow and not slurm and not smoke"

slurm: $(DEV) ## Of these those on a real Slurm, which is installed for it: as root on Debian
	python -m tests.slurm.cluster install
	pytest -m slurm

validate: $(DEV) ## Try in full how often verdicts are wrong, and what kills and damages do (an hour)
	OMP_NUM_THREADS=1 python -m tests.validation
	OMP_NUM_THREADS=1 python -m tests.validation.reliability

bench: $(DEV) ## Measure speed against what people would run instead; writes docs/performance.md
	OMP_NUM_THREADS=1 python -m benchmarks --out benchmarks/results/cpu.json --page
	OMP_NUM_THREADS=1 python -m benchmarks.scaling --out benchmarks/results/scaling.json --page
	python -m benchmarks.study --out benchmarks/results/study.json --page

bench-papers: $(RUN_TIME) ## Judge a related paper's claims: make bench-papers PAPER=pear; its page goes to docs/
	snakemake --cores all --configfile experiments/related/$(or $(PAPER),$(error name one: PAPER=… of experiments/related/)).yaml
	python -m docs.related $(PAPER)
	python -m docs.bench

format: $(DEV) ## Format the code and mend what ruff can mend
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

docs: $(RUN_TIME) ## Regenerate the documents that are generated from the code
	python -m svdrift.study.reference
	snakemake --rulegraph mermaid-js --configfile experiments/smoke.yaml --nolock \
		| python docs/rule_graph.py > docs/rule-graph.md
	python docs/readme_findings.py
	python -m docs.tasks
	python -m docs.bench
	python -m docs.budgets
	python -m docs.published_spectra

site: $(DEV) ## The documents as a site, in build/site, with every link checked
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# Versions in the locks stay unless pyproject.toml forbids them. The local suffix of torch
# (+cpu, +cu130) names a build, which is the machine's choice.
PIP_COMPILE = pip-compile --quiet --strip-extras --unsafe-package pip --build-deps-for editable \
	--no-header --no-emit-index-url --no-emit-find-links --no-annotate $(UPGRADE) pyproject.toml
lock: $(DEV) ## Pin pyproject's requirements anew (UPGRADE=--upgrade for the newest versions)
	$(PIP_COMPILE) --extra workflow --output-file envs/requirements.lock
	$(PIP_COMPILE) --extra workflow --extra dev --constraint envs/requirements.lock \
		--output-file envs/requirements-dev.lock
	sed -i -E -e 's/^(torch==[0-9.]+)\+.*/\1/' -e '/^(#.*)?$$/d' \
		envs/requirements.lock envs/requirements-dev.lock

clean: ## Remove caches and builds; results/, .snakemake/ and .venv/ stay
	rm -rf build dist svdrift.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find svdrift scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { echo \
		"error: '$(PYTHON)' is not Python 3.11 or newer; name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo \
		"error: Python's venv module is missing; install it: apt-get install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)

# The build backend is pinned in the locks too, so the package itself needs no network.
$(RUN_TIME): envs/requirements.lock pyproject.toml $(VENV)/bin/pip
	$(PIP) install -r envs/requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Includes the run-time requirements.
$(DEV): envs/requirements-dev.lock envs/requirements.lock pyproject.toml $(VENV)/bin/pip
	$(PIP) install -r envs/requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUN_TIME)
