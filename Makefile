# `make` lists what there is.  Needs Python >= 3.12, make and git; everything else goes into .venv.

PYTHON ?=
JOBS   ?= 2
ARGS   ?=

VENV   := .venv
NEXT   := .venv-next
PY     := $(VENV)/bin/python
CUBE   := $(VENV)/bin/spacenet-cube
PINNED := $(VENV)/.pinned
READY  := $(VENV)/.ready
DEMO   := demo
SPHINX := $(PY) -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --jobs 2 \
          --doctree-dir build/docs/doctrees spacenet_cube/docs build/docs/html
# Resolves for every platform and Python at once, which pip cannot.  Used by `make pin` alone.
UV     := uv==0.13.9

# The environment is .venv and nothing else, whatever is active in the shell that runs make.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER
export PYTHONNOUSERSITE := 1

.PHONY: help demo test test-all check docs bench torture next pin clean
.DELETE_ON_ERROR:

help:  ## this list
	@echo "usage: make TARGET [PYTHON=path] [JOBS=n] [ARGS='...']"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## build a cube from the sample corpus, open it, leave a picture in demo/
	$(CUBE) sample $(DEMO)/corpus --aoi AOI_2_Vegas --product MUL-PanSharpen --tile-size 512
	$(CUBE) plan AOI_2_Vegas --product MUL-PanSharpen --source $(DEMO)/corpus --to $(DEMO)/cubes
	$(CUBE) build AOI_2_Vegas --product MUL-PanSharpen --source $(DEMO)/corpus --to $(DEMO)/cubes --replace
	$(PY) -c 'import xarray as xr; print(xr.open_zarr("$(DEMO)/cubes/AOI_2_Vegas/MUL-PanSharpen.zarr"))'
	$(CUBE) quicklook $(DEMO)/cubes/AOI_2_Vegas/MUL-PanSharpen.zarr -o $(DEMO)/AOI_2_Vegas.png
	@echo
	@echo "Look at $(DEMO)/AOI_2_Vegas.png"

test: $(READY)  ## tests and doctests, a seeded share of what is large; a warning is a failure; ARGS='-k word'
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: $(READY)  ## every test with every case and every example
	SPACENET_CUBE_TEST_ALL=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)  ## formatter, linter, types, pages
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(SPHINX)

docs: $(READY)  ## build the pages in build/docs/html; a warning is a failure
	$(SPHINX)
	@echo "Open build/docs/html/index.html"

bench: $(READY)  ## one product built by us, by its peers and by the floor, in turn
	$(PY) -m tests.bench $(ARGS)

torture: $(READY)  ## kills, faults, damage and hostile input, counted; ARGS='--share 0.1' for less
	$(PY) -m tests.torture $(ARGS)

next:  ## test the use of private parts of libraries with their newest pre-releases, in .venv-next
	python=$$(sh .ci/find-python '$(PYTHON)') && "$$python" -m venv --clear $(NEXT)
	$(NEXT)/bin/python -m pip install --quiet --disable-pip-version-check --pre -e '.[all,test]'
	$(NEXT)/bin/python -m pytest -p no:cacheprovider tests/test_compat.py tests/test_forks.py $(ARGS)

pin: $(READY)  ## write constraints.txt anew, with the newest versions that pyproject.toml allows
	$(PY) -m pip install --quiet '$(UV)'
	sh .ci/pin $(PY)

clean:  ## remove the environment, the demo and what tools left behind
	rm -rf $(VENV) $(NEXT) $(DEMO) build dist spacenet_cube/docs/notebooks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PINNED): constraints.txt
	@python=$$(sh .ci/find-python '$(PYTHON)') || exit 1; \
	echo "making $(VENV) with $$python (a minute or two)"; \
	"$$python" -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@touch $@

$(READY): $(PINNED) pyproject.toml spacenet_cube/version.py
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
