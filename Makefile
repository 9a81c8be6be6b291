PYTHON ?= python3
RUNTIME := .venv/runtime
DEV := .venv/dev

.PHONY: help verify test check format bench default-bundle clean

help:
	@echo "make verify          install the runtime alone and compare the example videos"
	@echo "make test            install the development environment and run the tests"
	@echo "make check           lint, format check, type check"
	@echo "make format          apply the formatter"
	@echo "make default-bundle  render, train and export the bundle that comes with the package (resumable)"
	@echo "make bench           run the benchmarks"
	@echo "make clean           remove the environments and build products"

$(RUNTIME)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu]'
	@touch $@

$(DEV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(DEV)/bin/python -m pip install --quiet -c constraints.txt -e '.[cpu,train,export]' --group dev
	@touch $@

verify: $(RUNTIME)/.installed
	@echo '$$ weaksvr-verify examples/assembly_1.mp4 examples/assembly_2.mp4'
	@$(RUNTIME)/bin/weaksvr-verify examples/assembly_1.mp4 examples/assembly_2.mp4
	@echo
	@echo '$$ weaksvr-verify examples/assembly_1.mp4 examples/assembly_swapped.mp4'
	@$(RUNTIME)/bin/weaksvr-verify examples/assembly_1.mp4 examples/assembly_swapped.mp4; test $$? -eq 1

test: $(DEV)/.installed
	$(DEV)/bin/python -m pytest -q

build/types/weaksvr:
	@mkdir -p build/types
	@ln -sfn ../.. $@

check: $(DEV)/.installed build/types/weaksvr
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	MYPYPATH=build/types $(DEV)/bin/python -m mypy -p weaksvr.runtime

format: $(DEV)/.installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

clean:
	rm -rf .venv build dist *.egg-info
