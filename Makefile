# The project's commands. `make demo` and `make test` work on a fresh clone; everything else uses what `make test` installed.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint types build clean

demo:  ## enlarge examples/cat.png x4 into four samples, in an environment of its own
	$(PYTHON) -m venv --clear .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) .
	.venv-demo/bin/ncsr upscale examples/cat.png -o demo -n 4 --seed 0 --sheet --std

test: export OMP_NUM_THREADS ?= 1
test: .venv  ## run the tests, in two processes of one thread each
	.venv/bin/pytest -n 2 --dist loadfile

lint: .venv  ## check style, format, and which folder imports which
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache

types: .venv  ## check types
	.venv/bin/mypy

build: .venv  ## build the wheel and the source archive into dist/
	rm -rf dist
	.venv/bin/python -m build --outdir dist

clean:
	rm -rf .venv .venv-demo dist demo .mypy_cache .pytest_cache .ruff_cache

# A fresh environment, made anew whenever what it is made from changes.
.venv: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP_INSTALL) -e '.[train,eval,onnx,ray,app,heif,docs,dev]' || { rm -rf .venv; exit 1; }
	touch .venv
