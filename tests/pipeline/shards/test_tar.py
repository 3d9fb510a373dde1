"""Members of tars compared with Python's reader; test_hostile.py and test_shard.py cover other archives."""

import io
import tarfile

import pytest
from tar_mutations import tar_of

from seqviews.pipeline.shards.tar import tar_members

MEMBERS = [(f"clip-{i}.npy", bytes(range(i)) * i) for i in range(40)]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_members_are_those_that_python_finds(count: int) -> None:
    data = tar_of(MEMBERS[:count])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, m.offset_data, m.offset_data + m.size) for m in tar]
    assert list(tar_members(data)) == expected
    assert [data[start:end] for _, start, end in tar_members(data)] == [content for _, content in MEMBERS[:count]]


@pytest.mark.parametrize("blocks", [0, 1])
def test_an_archive_ends_in_two_empty_blocks(blocks: int) -> None:
    data = tar_of(MEMBERS[:3]).rstrip(b"\0")
    data += bytes(-len(data) % 512 + 512 * blocks)
    with pytest.raises(ValueError, match="empty blocks"):
        list(tar_members(data))
