"""Parts in any order, repeated and killed, then finalized: the tree that one process writes."""

import random
import time
from pathlib import Path

import pytest
from object_storage import Storage
from preparing_process import DATA, start
from toy_clips import ToyClips, digests
from toy_speech import ToySpeech

from seqviews.pipeline.prepare.finalize import finalize
from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.write import prepare


def test_parts_in_random_order_and_repeated(toy: Path, speech: Path, tmp_path: Path) -> None:
    for dataset, expected in ((ToyClips(), toy), (ToySpeech(), speech)):
        out, dice = tmp_path / expected.name, random.Random(expected.name)
        numbers = [*range(1, 6), *dice.choices(range(1, 6), k=2)]
        dice.shuffle(numbers)
        for number in numbers:
            prepare(dataset, out, shard_sources=2, part=Part(number, 5))
        assert not list(out.rglob("manifest.json"))
        manifests = finalize(out)
        assert digests(out) == digests(expected)
        assert finalize(out) == manifests == prepare(dataset, out, shard_sources=2)
        assert digests(out) == digests(expected)


def test_a_part_returns_what_it_wrote(tmp_path: Path) -> None:
    manifests = prepare(ToyClips(), tmp_path, shard_sources=2, part=Part(1, 4))  # of 6, 2 and 2 shards
    names = [shard.name for manifest in manifests.values() for shard in manifest.shards]
    assert names == ["train-000000.tar", "train-000004.tar", "test-000000.tar"]
    assert [p.name for p in tmp_path.rglob("*.tar")].sort() == names.sort()


def test_parts_in_a_bucket(storage: Storage, toy: Path) -> None:
    for number in (2, 1, 2):
        prepare(ToyClips(), storage.url, shard_sources=2, part=Part(number, 2))
    finalize(storage.url)
    assert storage.objects() == {name: (toy / name).read_bytes() for name in digests(toy)}


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_parts_and_two_of_the_same(tmp_path: Path, kills: int) -> None:
    """Five parts run at a time, part 1 twice; some are killed at random moments and run again."""
    prepare(DATA["many"], tmp_path / "one", shard_sources=2)
    out, dice = tmp_path / "out", random.Random(kills)
    parts, kept = [1, 1, 2, 3, 4, 5], dict[Path, tuple[int, int]]()
    for attempt in range(kills):
        process = start(out, "many", f"{dice.choice(parts)}/5")
        time.sleep(dice.uniform(0.5, 2.5))
        process.kill()
        process.communicate()
        for path in out.rglob("*.tar"):
            state = path.stat().st_ino, path.stat().st_mtime_ns
            assert kept.setdefault(path, state) == state, f"{path} was written again after {attempt} kills"
    processes = [start(out, "many", f"{part}/5") for part in parts]
    assert [process.communicate()[1] for process in processes] == [b""] * len(parts)
    finalize(out)
    assert digests(out) == digests(tmp_path / "one")
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == state for path, state in kept.items())


def test_what_is_missing_is_named_and_runs_again(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no plan\.json: no preparation was started there"):
        finalize(tmp_path)
    out = tmp_path / "out"
    for number in (1, 3, 4, 5):
        prepare(ToyClips(), out, shard_sources=2, part=Part(number, 5))
    (out / "train" / "train-000003.tar").write_bytes(b"damaged")
    missing = r"3 of 10 shards are missing or damaged, train/train-000001\.tar, train/train-000003\.tar, "
    with pytest.raises(ValueError, match=missing + r"val/val-000000\.tar: run again --part 2/5, --part 4/5$"):
        finalize(out)
    assert not list(out.rglob("manifest.json"))
    for number in (2, 4):
        prepare(ToyClips(), out, shard_sources=2, part=Part(number, 5))
    finalize(out)
    assert digests(out) == digests(toy)


def test_parts_of_other_numbers_and_other_plans(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(ToyClips(), out, shard_sources=2, part=Part(1, 2))
    with pytest.raises(FileExistsError, match=r"holds another preparation: parameters\.seed is 0, not 1"):
        prepare(ToyClips(), out, shard_sources=2, seed=1, part=Part(2, 2))
    prepare(ToyClips(), out, shard_sources=2, part=Part(2, 5))
    with pytest.raises(ValueError, match="written in parts of 2 and of 5, so run all parts of one number"):
        finalize(out)
    prepare(ToyClips(), out, shard_sources=2, part=Part(2, 2))
    prepare(ToyClips(), tmp_path / "other", shard_sources=2, seed=1, part=Part(2, 2))
    for name in ("train-000001.tar", ".train-000001.tar.json"):  # as rsync merges the disks of two machines
        (out / "train" / name).write_bytes((tmp_path / "other" / "train" / name).read_bytes())
    with pytest.raises(FileExistsError, match=r"train-000001\.tar is a shard of another preparation: remove it"):
        finalize(out)
    (out / "train" / "train-000001.tar").unlink()
    prepare(ToyClips(), out, shard_sources=2)
    assert digests(out) == digests(toy)


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    prepare(ToyClips((2, 0, 0)), tmp_path / "out")
    text = (tmp_path / "out" / "plan.json").read_text()
    for damaged in ("", "[]", text[:-9], text.replace("webp", "png", 1)):
        (tmp_path / "out" / "plan.json").write_text(damaged)
        if damaged.startswith("{"):
            continue
        with pytest.raises(ValueError, match=r"plan\.json is damaged, or of another version"):
            finalize(tmp_path / "out")
