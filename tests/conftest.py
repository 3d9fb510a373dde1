"""Fixtures that several folders of tests share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from moving_squares import MovingSquares
from object_storage import large_clips, large_records, seaweed, storage, stored
from tool_calls import failure
from toy_clips import ToyClips
from toy_speech import ToySpeech

from seqviews.pipeline.datasets.digits import sklearn_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.prepare.write import prepare

__all__ = ["failure", "large_clips", "large_records", "seaweed", "storage", "stored"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With the real data present, CI must not be green with a test skipped, but for those that need a GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # which workers of pytest-xdist lack
    if os.environ.get("CI") and SHARED_DATA.is_dir() and reporter is not None:
        skipped = [r.nodeid for r in reporter.stats.get("skipped", []) if "gpu" not in r.keywords]
        if skipped and exitstatus == pytest.ExitCode.OK:
            print(f"\nskipped although ../shared/data is here: {', '.join(skipped)}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def sprites(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole Sprites data set, prepared from the real sheets."""
    out = tmp_path_factory.mktemp("sprites") / "sprites"
    prepare(Sprites(shared_data / "lpc-sprites"), out, workers=2)
    return out


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 36, 9 and 9 small clips in shards of two sources."""
    out = tmp_path_factory.mktemp("toy") / "toy"
    prepare(ToyClips(), out, shard_sources=2)
    return out


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 512, 64 and 64 moving squares."""
    out = tmp_path_factory.mktemp("squares") / "squares"
    prepare(MovingSquares(), out, shard_sources=64)
    return out


@pytest.fixture(scope="session")
def few_squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 64, 16 and 24 moving squares."""
    out = tmp_path_factory.mktemp("squares") / "squares"
    prepare(MovingSquares((64, 16, 24)), out, shard_sources=8)
    return out


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of 36, 12 and 12 clips of two of scikit-learn's digits."""
    out = tmp_path_factory.mktemp("digits") / "digits"
    prepare(MovingDigits(sklearn_digits(), (36, 12, 12), digits_per_clip=2, frames=4, size=16), out, shard_sources=6)
    return out


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of toy speech in shards of two utterances."""
    out = tmp_path_factory.mktemp("speech") / "speech"
    prepare(ToySpeech(), out, shard_sources=2)
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few shards; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
