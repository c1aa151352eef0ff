# Needs Python 3.11 or newer with venv and pip, and make; everything else goes into .venv.
# Another interpreter: make demo PYTHON=python3.12. After a change of interpreter: make clean first.

PYTHON ?= python3
# Of make fuzz, for each kind of file.
SECONDS ?= 60
# Of make test-lowest, which tests; all if none are named.
LOWEST_TESTS ?=
# Processes that share the tests, or fuzz; each runs torch with one thread. Of tests each takes neighbours, which share fixtures.
TEST_WORKERS ?= 2

# Of make test-types: the rooms that take arrays and give arrays, and training; not what goes through the command line.
TYPED_TESTS = $(filter-out tests/test_noise_audit.py tests/test_noise_threshold.py tests/test_training_probe.py,$(wildcard tests/test_scores_*.py tests/test_noise_*.py tests/test_selection.py tests/test_clustering.py tests/test_trace.py \
	tests/test_training_*.py tests/test_study_statistics.py tests/test_data_arrays.py tests/test_data_dataset.py))

# The tests start hundreds of processes; without kept bytecode each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
# Its plugins by name: pytest would also load those of the newer packages behind the lowest ones.
LOWEST_PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -p xdist.plugin -p _hypothesis_pytestplugin
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
# The files of a tier, by what they name: to import all others takes longer than some tiers.
naming = $(shell grep -rlE --include='test_*.py' '$(1)' tests)

.PHONY: demo test test-long test-types test-faults test-slow test-lowest test-wheel test-ray test-integrations test-browser fuzz audit check bench format lint types imports docs clean

demo: .venv/installed  ## the whole story on a small set, into demo/
	.venv/bin/dataprune demo --out demo

test: .venv/dev  ## the default tier of tests
	$(PYTEST) -n $(TEST_WORKERS) --dist worksteal

test-types: .venv/dev  ## the tests of the core with every annotation checked at each call, shapes too
	CHECK_TYPES=1 $(PYTEST) -q -n $(TEST_WORKERS) --dist worksteal $(TYPED_TESTS)

test-long: .venv/dev  ## kills and whole stories, many seconds each
	$(PYTEST) -q -m long -n $(TEST_WORKERS) --dist worksteal $(call naming,mark\.long)

test-faults: .venv/dev  ## kills and damage, which take a few minutes
	$(PYTEST) -q -m faults -n $(TEST_WORKERS) --dist load $(call naming,mark\.faults)

test-slow: .venv/dev  ## hundreds of kills, long fuzzing, closer statistics: half an hour, before a release
	$(PYTEST) -m slow

test-lowest: .venv-lowest/dev  ## the default tests with the lowest declared version of everything but torch; the rest is that of .venv
	$(LOWEST_PYTEST) -n $(TEST_WORKERS) --dist worksteal $(LOWEST_TESTS)

fuzz: .venv/fuzz  ## readers and stored formats, guided by coverage, SECONDS each; needs atheris, which has wheels for Linux
	OMP_NUM_THREADS=1 $(PY) tests/fuzz/fuzzer.py --seconds $(SECONDS) --jobs $(TEST_WORKERS)

audit: .venv/dev  ## known weaknesses of what is installed; asks an advisory database over the network
	$(PIP) install --group audit
	$(PIP) freeze --exclude-editable | sed 's/+.*//' > .venv/audit.txt
	$(PY) -m pip_audit --strict --disable-pip --no-deps -r .venv/audit.txt

test-wheel: .venv/dev  ## a built wheel, installed away from the sources; needs a package index for the build tool
	$(PYTEST) -q -m network tests/test_wheel.py

test-ray: .venv/ray  ## the tests that start a Ray cluster on this machine
	$(PYTEST) -m ray $(call naming,mark\.ray|worker_kit)

test-integrations: .venv/integrations  ## recording in Hugging Face's Trainer, Lightning and Accelerate; logs of a study
	$(PYTEST) -q -m integrations tests/test_integrations.py tests/test_examples.py tests/test_study_loggers.py

test-browser: .venv/dev  ## the report and the review in a real browser: needs chromium (apt-get install chromium)
	$(PYTEST) -q -m browser tests/test_page_browser.py tests/test_review_browser.py

check: lint types imports test  ## everything that a change must pass; the same in CI

bench: .venv/bench  ## the quick benchmarks, beside the last run on the same kind of machine; BENCH=--gpu: those of a GPU
	$(PY) benchmarks/suite.py $(BENCH)

lint: .venv/dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: .venv/dev
	$(PY) -m mypy

imports: .venv/dev  ## who may import whom
	.venv/bin/lint-imports

format: .venv/dev  ## write what `make lint` asks for
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: .venv/docs  ## the site into build/site, strictly; its tutorial and pictures are made on the way
	OMP_NUM_THREADS=1 $(PY) -m sphinx -q -W --keep-going -b html docs build/site

clean:
	rm -rf .venv .venv-lowest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: made once, and again when pyproject.toml changes.
.venv/made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: dataprune needs Python 3.11 or newer, $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/made pyproject.toml
	$(PIP) install --editable .
	@touch $@

# Dependency groups need pip 25.1; demo does without.
.venv/dev: .venv/installed
	$(PIP) install --quiet 'pip>=25.1'
	$(PIP) install --quiet --group dev --group lint
	@touch $@

.venv/bench: .venv/dev
	$(PIP) install --quiet --group bench
	@touch $@

.venv/docs: .venv/dev
	$(PIP) install --quiet --group docs
	@touch $@

.venv/fuzz: .venv/dev
	$(PIP) install --quiet --group fuzz
	@touch $@

.venv-lowest/dev: .venv/dev tests/lowest_versions.py
	$(PYTHON) -m venv .venv-lowest
	$(PY) $(SITE) > "$$(.venv-lowest/bin/python $(SITE))/newest.pth"
	$(PYTHON) tests/lowest_versions.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet 'pip>=25.1'
	.venv-lowest/bin/python -m pip install --quiet --no-warn-conflicts --editable . --group dev --constraint .venv-lowest/lowest.txt
	@touch $@

.venv/integrations: .venv/dev
	$(PIP) install --quiet --group integrations
	@touch $@

.venv/ray: .venv/dev
	$(PIP) install --group ray
	@touch $@
