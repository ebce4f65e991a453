#!/bin/sh
# test_wheel.sh WHEEL: installs the wheel in a fresh environment and runs its self-test with an empty
# PATH, so without a compiler. The interpreter is that of $PYTHON, else python3.11.
set -eu
wheel=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
cd "$folder"
"$folder/venv/bin/python" -m pip install --quiet "$wheel[tensorflow-cpu]"
env -i HOME="$folder" PATH= TF_CPP_MIN_LOG_LEVEL=2 "$folder/venv/bin/python" -m pylstm
