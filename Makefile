# One command for each job; all but `gpu` first make what they need, in $(VENV) and $(BUILD).
PYTHON ?= python3.11
VENV ?= .venv
BUILD ?= build
# CUDA kernels take minutes to compile: only where there is a GPU to run them, or on request.
CUDA ?= $(if $(shell command -v nvidia-smi),ON,OFF)

export PATH := $(abspath $(VENV))/bin:$(PATH)
export PYTHONPATH := $(CURDIR)

.PHONY: build test test-emulated lint format demo bench peers gpu wheel wheel-test clean

# Configured each time, which takes a second: CUDA, VENV or what is installed may be another now.
build: $(VENV)/requirements-dev.txt
	cmake -S . -B $(BUILD) -G Ninja -DPython_EXECUTABLE=$(abspath $(VENV))/bin/python -DPYLSTM_CUDA=$(CUDA)
	cmake --build $(BUILD)

test: build
	python -m pytest --numprocesses auto tests

# The kernels for AVX-512 and AMX on any processor, their instructions in C++. SKBUILD: as for a
# wheel, nothing is written into pylstm/.
EMULATED = $(abspath $(BUILD))/emulated
test-emulated: build
	cmake -S . -B $(EMULATED) -G Ninja -DPython_EXECUTABLE=$(abspath $(VENV))/bin/python \
	    -DPYLSTM_CUDA=OFF -DSKBUILD=ON -DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$(EMULATED) \
	    -DCMAKE_CXX_COMPILER_LAUNCHER=$(CURDIR)/tests/cpu/emulated/compile.py
	cmake --build $(EMULATED) --target _core
	EMULATED_CORE=$(EMULATED) python -m pytest -p tests.cpu.emulated.plugin --numprocesses auto tests/cpu

lint: $(VENV)/requirements-dev.txt
	ruff check .
	ruff format --check .
	git ls-files '*.h' '*.cc' '*.cu' '*.c' | xargs clang-format --dry-run --Werror

format: $(VENV)/requirements-dev.txt
	ruff check --fix .
	ruff format .
	git ls-files '*.h' '*.cc' '*.cu' '*.c' | xargs clang-format -i

demo: build
	python -m benchmarks.demo

bench: build peers
	python -m benchmarks

# Also lets `make test` run the tests of pylstm on torch, which it skips otherwise.
peers: $(VENV)/requirements-bench.txt

gpu:
	python3 -m benchmarks.gpu

# The environment has what a build needs, so the build is not isolated. auditwheel names the oldest
# glibc on which the wheel runs; TensorFlow's library is in the process before pylstm's is loaded.
wheel: $(VENV)/requirements-dev.txt
	rm -rf dist $(BUILD)/wheel
	python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(BUILD)/wheel \
	    --config-settings=cmake.define.PYLSTM_CUDA=$(CUDA) .
	auditwheel repair --exclude libtensorflow_framework.so.2 --wheel-dir dist $(BUILD)/wheel/*.whl

wheel-test: wheel
	tests/packaging/test_wheel.sh dist/*.whl

clean:
	rm -rf $(BUILD) dist pylstm/*.so pylstm/_build_info.py pylstm/_gpu_run.py

# A copy of the list of requirements marks that they are installed.
$(VENV)/requirements-%.txt: requirements-%.txt
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --requirement $<
	cp $< $@
