#!/bin/sh
# Install a wheel with the packages it asks for into a new venv, and import every module from another folder.
set -eu
python=$1 wheel=$(readlink -f "$2") constraints=$(readlink -f constraints.txt)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$python" -m venv venv
venv/bin/python -m pip install -q -c "$constraints" torch
venv/bin/python -m pip install -q -c "$constraints" "$wheel[all]"
venv/bin/python - <<'END'
import importlib.resources
import pkgutil

import seqviews

names = [m.name for m in pkgutil.walk_packages(seqviews.__path__, "seqviews.")]
for name in names:
    importlib.import_module(name)
expected = {"seqviews.pipeline.datasets.sprites", "seqviews.augment.video", "seqviews.model.methods.cdsvae", "seqviews.tools.cli"}
assert expected <= set(names), f"missing from the wheel: {expected - set(names)}"
for data in ("presets/smmnist/demo.yaml", "report/templates/clips.html"):
    assert (importlib.resources.files("seqviews.model") / data).is_file(), f"missing from the wheel: {data}"
print(f"{len(names)} modules import from {seqviews.__file__}")
END
venv/bin/seqviews train --help > /dev/null
