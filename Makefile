# The project's commands. `make demo` and `make test` work on a fresh clone; everything else uses what `make test` installed.
PYTHON ?= python3
VENV ?= .venv
MATRIX = 3.10 3.13
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test matrix core lint types docs build clean

demo:  ## enlarge examples/cat.png x4 into four samples, in an environment of its own
	$(PYTHON) -m venv --clear .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) .
	.venv-demo/bin/ncsr upscale examples/cat.png -o demo -n 4 --seed 0 --sheet --std

test: export OMP_NUM_THREADS ?= 1
test: $(VENV)  ## run the tests, in two processes of one thread each
	$(VENV)/bin/pytest -n 2 --dist loadfile

matrix: core  ## by hand (each brings its own PyTorch): the tests on the oldest and the newest Python, and the core without extras
	for version in $(MATRIX); do $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; done

core: export OMP_NUM_THREADS ?= 1
core:  ## the tests that need no extra, where none is installed
	$(PYTHON) -m venv --clear .venv-core
	.venv-core/bin/python $(PIP_INSTALL) -e . pytest pytest-xdist
	.venv-core/bin/pytest -n 2 --dist loadfile

lint: $(VENV)  ## check style, format, and which folder imports which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo --no-cache

types: $(VENV)  ## check types
	$(VENV)/bin/mypy

docs: export OMP_NUM_THREADS ?= 1
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)  ## build the site into site/, its tutorials executed; a warning is an error
	$(VENV)/bin/mkdocs build --strict

build: $(VENV)  ## build the wheel and the source archive into dist/
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist

clean:
	rm -rf .venv .venv-* dist demo site .mypy_cache .pytest_cache .ruff_cache

# A fresh environment, made anew whenever what it is made from changes.
$(VENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[train,eval,onnx,ray,app,heif,docs,dev]' || { rm -rf $(VENV); exit 1; }
	touch $(VENV)
