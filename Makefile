PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
# Two test files at a time, those that take long first, on a core each. A worker that died would otherwise be replaced by
# one that runs the same test and dies as well, again and again.
PYTEST ?= -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
RUN := $(VENV)/bin/python
NOTEBOOKS_HAVE_NO_OUTPUTS = $(VENV)/bin/nbstripout --keep-id --verify notebooks/*.ipynb tests/notebooks/*/*.ipynb

.DEFAULT_GOAL := help
.PHONY: help demo check test test-gpu lint format notebooks sweep tensorboard compare report benchmark compare-peers docs clean-cache environment

help:  ## print what each target does
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: environment  ## everything once: embedded data and weights, sweeps/demo.yaml, models_comparing.xlsx
	$(RUN) -m training_code.sweep sweeps/demo.yaml
	$(RUN) -m training_code.compare

check: environment  ## lint, and the tests that need no training
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(NOTEBOOKS_HAVE_NO_OUTPUTS)
	@# The types beside the tests, which do not keep both cores busy.
	@$(RUN) -m mypy training_code inference_code & types=$$!; \
	  OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST) -q -m "not slow"; tests=$$?; wait $$types && exit $$tests

test: environment  ## run the whole test suite
	OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST)

test-gpu: environment  ## run the tests that need a GPU, one after the other; they are skipped without one
	$(RUN) -m pytest -m gpu

lint: environment  ## check style and types, and that notebooks carry no outputs
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy training_code inference_code
	$(NOTEBOOKS_HAVE_NO_OUTPUTS)

format: environment  ## bring code and notebooks into the style that lint checks
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
	$(VENV)/bin/nbstripout --keep-id notebooks/*.ipynb tests/notebooks/*/*.ipynb

notebooks: environment  ## open JupyterLab in notebooks/
	$(VENV)/bin/jupyter lab --notebook-dir=notebooks

sweep: environment  ## run the sweep file SWEEP=sweeps/….yaml
	$(RUN) -m training_code.sweep $(or $(SWEEP),$(error give the sweep file: make sweep SWEEP=sweeps/demo.yaml))

tensorboard: environment  ## learning curves of the runs in the browser; RESULTS= for another folder than results
	$(VENV)/bin/tensorboard --logdir $(or $(RESULTS),results)

compare: environment  ## gather all runs into models_comparing.xlsx
	$(RUN) -m training_code.compare

report: environment  ## the same, and one HTML file of tables and pictures (PDF where Chromium or Chrome is there)
	$(RUN) -m training_code.compare --report

benchmark: environment  ## plain anomalib against this project, most of an hour; DATA= for other images than textures
	$(RUN) -W ignore -m training_code.benchmark $(if $(DATA),--data $(DATA))

docs: environment  ## write the site to site/, with the notebooks of the runs there are; every link is checked
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build
	@echo "site/index.html"

compare-peers: environment $(PEERS)/installed  ## the same grid with this project, anomalib and imgad, for docs/peers.md; ROUNDS=, DATA=
	$(RUN) -W ignore tests/tools/compare_peers.py --write --rounds $(or $(ROUNDS),1) $(if $(DATA),--data $(DATA))

# imgad needs packages that nothing else here does: it has an environment of its own, which borrows the others.
$(PEERS)/installed: tests/tools/peers/requirements.txt
	$(RUN) -m venv --without-pip $(PEERS)
	$(RUN) -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$(echo $(PEERS)/lib/python*/site-packages)/borrowed.pth"
	$(RUN) -m pip --python $(PEERS)/bin/python install --disable-pip-version-check --requirement $<
	@touch $@

environment.yml: pyproject.toml constraints.txt  ## write the file for conda anew after a change of a dependency
	$(PYTHON) .ci/conda_environment.py > $@.new && mv $@.new $@

clean-cache:  ## remove decoded images, features, coresets and compiled backbones; they are made again when needed
	rm -rf .cache

environment: $(VENV)/installed $(VENV)/fits  ## create .venv and install what is missing

# Asked again whenever one of the two was installed anew: torchvision takes seconds to be imported.
$(VENV)/fits: $(VENV)/installed $(wildcard $(VENV)/lib/python*/site-packages/torch-*.dist-info $(VENV)/lib/python*/site-packages/torchvision-*.dist-info)
	@$(RUN) -c "import torchvision" 2>/dev/null || { \
	  echo "error: torch and torchvision in $(VENV) do not fit each other, most often because one of them is a"; \
	  echo "       CPU-only build and the other is not; remove $(VENV) and run make again: constraints.txt pins a pair"; \
	  exit 1; }
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "error: Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.11 …"; exit 1; }
	@echo "installing into $(VENV): several gigabytes the first time, most of them torch"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check --editable ".[all,dev]" --constraint constraints.txt
	@touch $@
