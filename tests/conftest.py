"""Fixtures that several folders of tests share."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from moving_squares import MovingSquares
from object_storage import large_clips, large_records, seaweed, storage, stored
from tool_calls import failure
from toy_clips import ToyClips
from toy_speech import ToySpeech

from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.pipeline.prepare.write import Preprocessor, prepare

__all__ = ["failure", "large_clips", "large_records", "seaweed", "storage", "stored"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With the real data present, CI must not be green with a test skipped, but for those that need a GPU."""
    if os.environ.get("CI") and SHARED_DATA.is_dir():
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
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
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Prepares a data set in a folder of its own."""

    def write(name: str, dataset: Preprocessor, **options: int) -> Path:
        out = tmp_path_factory.mktemp(name) / name
        prepare(dataset, out, **options)
        return out

    return write


@pytest.fixture(scope="session")
def sprites(shared_data: Path, prepared: Callable[..., Path]) -> Path:
    """The whole Sprites data set, prepared from the real sheets."""
    return prepared("sprites", Sprites(shared_data / "lpc-sprites"), workers=2)


@pytest.fixture(scope="session")
def toy(prepared: Callable[..., Path]) -> Path:
    """A prepared data set of 36, 9 and 9 small clips in shards of two sources."""
    return prepared("toy", ToyClips(), shard_sources=2)


@pytest.fixture(scope="session")
def squares(prepared: Callable[..., Path]) -> Path:
    """A prepared data set of 512, 64 and 64 moving squares."""
    return prepared("squares", MovingSquares(), shard_sources=64)


@pytest.fixture(scope="session")
def few_squares(prepared: Callable[..., Path]) -> Path:
    """A prepared data set of 64, 16 and 24 moving squares."""
    return prepared("squares", MovingSquares((64, 16, 24)), shard_sources=8)


@pytest.fixture(scope="session")
def speech(prepared: Callable[..., Path]) -> Path:
    """A prepared data set of toy speech in shards of two utterances."""
    return prepared("speech", ToySpeech(), shard_sources=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few shards; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
