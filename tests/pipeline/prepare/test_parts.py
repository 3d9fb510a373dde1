"""Parts: which shards each has, and what names one."""

import re

import pytest

from seqviews.pipeline.prepare.parts import Part

SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}


def test_every_shard_is_in_one_part() -> None:
    for count in (1, 3, 5):
        owners = [[part for part in range(1, count + 1) if Part(part, count).has(shard)] for shard in range(12)]
        assert owners == [[1 + shard % count] for shard in range(12)]


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("2/5", {}, Part(2, 5)),
        ("slurm", SLURM, Part(3, 4)),
        ("slurm", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Part(1, 4)),
        ("rank", {"RANK": "3", "WORLD_SIZE": "4"}, Part(4, 4)),
    ],
)
def test_a_part_is_read_from_text_or_environment(text: str, environment: dict[str, str], part: Part) -> None:
    assert Part.parse(text, environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/5", {}, "there is no part 0/5: the parts are 1/5 to 5/5"),
        ("6/5", {}, "there is no part 6/5"),
        ("-1/5", {}, "a part is written 2/5, slurm or rank, not '-1/5'"),
        ("slurm", {}, "needs SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT as numbers in the environment"),
        ("rank", {"RANK": "3"}, "needs RANK and WORLD_SIZE"),
        ("slurm", {**SLURM, "SLURM_ARRAY_TASK_STEP": "2"}, "a step of 1"),
    ],
)
def test_what_names_no_part(text: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Part.parse(text, environment)
