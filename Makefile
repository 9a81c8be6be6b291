PYTHON ?= python3
# A download that breaks off is begun anew; what is complete by then comes out of pip's cache.
again = for wait in 10 30 60 0; do { $(1); } && break; test $$wait -gt 0 || exit 1; \
	echo "trying again in $$wait s" >&2; sleep $$wait; done
COMMA := ,
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
	@$(call again,$(RUNTIME)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu]')
	@touch $@

$(DEV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	@$(call again,$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1')
	@echo "installing the development environment (torch and its libraries are several GB)"
	@$(call again,$(DEV)/bin/python -m pip install --quiet -c constraints.txt -e '.[cpu$(COMMA)train$(COMMA)export$(COMMA)demo]' --group dev)
	@touch $@

verify: $(RUNTIME)/.installed
	@echo '$$ weaksvr-verify examples/assembly_1.mp4 examples/assembly_2.mp4'
	@$(RUNTIME)/bin/weaksvr-verify examples/assembly_1.mp4 examples/assembly_2.mp4
	@echo
	@echo '$$ weaksvr-verify examples/assembly_1.mp4 examples/assembly_swapped.mp4 --script examples/assembly_1.txt'
	@$(RUNTIME)/bin/weaksvr-verify examples/assembly_1.mp4 examples/assembly_swapped.mp4 --script examples/assembly_1.txt; \
		test $$? -eq 1

test: $(DEV)/.installed
	$(DEV)/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile tests --ignore tests/demo
	$(DEV)/bin/python -m pytest -q tests/demo

build/types/weaksvr:
	@mkdir -p build/types
	@ln -sfn ../.. $@

check: $(DEV)/.installed build/types/weaksvr
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	MYPYPATH=build/types $(DEV)/bin/python -m mypy -p weaksvr.runtime

# Each step is skipped where its result is there, and training goes on where it was stopped.
runs/workbench: | $(DEV)/.installed
	$(DEV)/bin/weaksvr-make-videos $@ --train 1500 --val 120 --test 240 --seed 0

# As above, with several videos of a procedure, which the supervised rows of the tables need.
runs/paper: | $(DEV)/.installed
	$(DEV)/bin/weaksvr-make-videos $@ --train 1200 --takes 5 --val 120 --test 240 --seed 0

default-bundle: runs/workbench
	$(DEV)/bin/weaksvr-train --data runs/workbench --out runs/default --preset workbench --set data.cache=runs/cache \
		$$(test -e runs/default/last/state.safetensors && echo --resume)
	$(DEV)/bin/weaksvr-export runs/default --out runs/bundle --name workbench-default \
		--description "Knows rendered workbench scenes and nothing else; for other footage train on your own videos."
	for sampling in three-view uniform segment; do \
		$(DEV)/bin/weaksvr-calibrate runs/bundle --pairs runs/workbench/val_pairs.csv --sampling $$sampling || exit; done
	rm -rf runtime/assets/default && cp -R runs/bundle runtime/assets/default
	$(DEV)/bin/weaksvr-evaluate runtime/assets/default --data runs/workbench

bench: $(DEV)/.installed runs/workbench runs/paper
	$(DEV)/bin/python benchmarks/bench_workbench_shortcuts.py runs/workbench
	$(DEV)/bin/python benchmarks/paper_tables.py runs/paper --out benchmarks/results/paper_tables.json --docs docs > /dev/null
	$(DEV)/bin/python benchmarks/bench_consumers.py
	$(DEV)/bin/python benchmarks/bench_sampling.py runs/workbench --out benchmarks/results/sampling.json
	$(DEV)/bin/python benchmarks/bench_explain.py runs/workbench --kept build/workbench_pairs.pkl
	$(DEV)/bin/python benchmarks/bench_compare.py runs/workbench --kept build/workbench_pairs.pkl
	$(DEV)/bin/python benchmarks/bench_match.py runs/workbench > /dev/null
	$(DEV)/bin/python benchmarks/bench_training.py build/training --workbench runs/workbench \
		--out benchmarks/results/training.json > /dev/null
	$(DEV)/bin/python -m pip install --quiet --group bench
	$(DEV)/bin/python benchmarks/bench_gallery.py > /dev/null
	$(DEV)/bin/python benchmarks/bench_decode.py --clips build/decode_clips > /dev/null
	$(DEV)/bin/python benchmarks/bench_verify.py build/verify --clips build/decode_clips > /dev/null
	$(DEV)/bin/python benchmarks/report.py

format: $(DEV)/.installed
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

clean:
	rm -rf .venv build dist *.egg-info
