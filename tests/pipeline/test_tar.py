"""Headers checked together find what headers checked one by one find, and leave to them all that is unusual."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tar_mutations import MUTATIONS, Original, pick, tar_of

from seqviews.pipeline.tar import tar_members, usual_members, walk

MEMBERS = [(f"clip-{i}.npy", bytes(range(i % 256)) * i) for i in range(40)]


def test_members_are_those_that_python_finds() -> None:
    data = tar_of(MEMBERS)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, slice(m.offset_data, m.offset_data + m.size)) for m in tar]
    assert usual_members(data) == list(walk(data)) == list(tar_members(data)) == expected


@pytest.mark.parametrize("byte", [*range(0, 512, 7), *range(97, 160), *range(255, 270), 511])
def test_a_changed_byte_of_a_header_is_left_to_the_walk_or_read_as_it_reads_it(byte: int) -> None:
    data = bytearray(tar_of(MEMBERS[:3]))
    second = list(walk(bytes(data)))[1][1].start - 512
    for value in (0, 1, ord(" "), ord("7"), ord("8"), ord("-"), 0xFF):
        changed = data.copy()
        changed[second + byte] = value
        check_agreement(bytes(changed))
        header = changed[second : second + 512]
        total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        changed[second + 148 : second + 156] = b"%06o\0 " % total
        check_agreement(bytes(changed))


@pytest.mark.parametrize("seed", range(300))
def test_mutated_archives(seed: int, tmp_path: Path) -> None:
    original = Original(tar_of(MEMBERS), "npy", (3, 8, 8, 3), tmp_path)
    rng = np.random.default_rng(seed)
    check_agreement(pick(rng, MUTATIONS)(rng, original))


@pytest.mark.parametrize("data", [b"", bytes(512), bytes(1024), bytes(1536), tar_of(MEMBERS)[:-512]])
def test_ends(data: bytes) -> None:
    check_agreement(data)


def check_agreement(data: bytes) -> None:
    usual = usual_members(data)
    if usual is not None:
        assert usual == list(walk(data))
