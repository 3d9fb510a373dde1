"""One process, two, Ray with three nodes, and parts in random order: the same tree, byte for byte."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import mug_trees
import pytest
import timit_trees
from ray_clusters import ray_cluster
from toy_clips import digests

from seqviews.augment.world import VoiceConverter
from seqviews.pipeline.datasets.mug import assign_people, survey_mug
from seqviews.pipeline.datasets.mug_takes import TakeReader, find_takes
from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.datasets.timit.segments import UtteranceCutter, survey_timit
from seqviews.pipeline.datasets.timit.tree import assign_splits, find_utterances
from seqviews.pipeline.manifest import SPLITS
from seqviews.pipeline.prepare.finalize import finalize
from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.ray_engine import RayEngine
from seqviews.pipeline.prepare.write import Preprocessor, write_shards
from seqviews.pipeline.sources.windows import Window

PARTS = 5


@pytest.fixture(scope="module")
def cluster() -> Any:
    with ray_cluster(3) as three_nodes:
        yield three_nodes


def dataset(name: str, folder: Path, shared_data: Path) -> Preprocessor:
    if name == "sprites":
        return Sprites(shared_data / "lpc-sprites")
    if name == "speech":
        speech = find_utterances(timit_trees.write_tree(folder))
        cutter = UtteranceCutter(Window(20, 20), voices=4, converter=VoiceConverter(16_000))
        return survey_timit(speech, assign_splits(speech), cutter)
    faces = find_takes(mug_trees.write_tree(folder))
    people = assign_people(sorted({take.subject for take in faces.takes}))
    return survey_mug(faces, people, TakeReader("centre", 1), size=16)


def write(data: Preprocessor, out: Path, **options: Any) -> None:
    """A few sources of each split."""
    sources = {split: data.sources(split)[:12] for split in SPLITS}
    info = replace(data.info, features=data.info.features.stored())
    write_shards(sources, out, data.records, info, parameters=data.parameters, shard_sources=3, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sprites", "speech", "faces"])
def test_every_way_gives_the_same_tree(name: str, cluster: Any, shared_data: Path, tmp_path: Path) -> None:
    data, dice = dataset(name, tmp_path / "raw", shared_data), random.Random(name)
    write(data, tmp_path / "one")
    expected = digests(tmp_path / "one")
    assert sum(file.endswith(".tar") for file in expected) >= PARTS
    write(data, tmp_path / "two", workers=2)
    assert digests(tmp_path / "two") == expected
    write(data, tmp_path / "ray", engine=RayEngine(cluster.address))
    assert digests(tmp_path / "ray") == expected
    numbers = [*range(1, PARTS + 1), *dice.sample(range(1, PARTS + 1), 2)]
    dice.shuffle(numbers)
    for number in numbers:
        write(data, tmp_path / "parts", part=Part(number, PARTS))
    finalize(tmp_path / "parts")
    assert digests(tmp_path / "parts") == expected
