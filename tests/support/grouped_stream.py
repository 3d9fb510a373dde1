"""The batches of streams in a process group, in a module that spawned processes can import."""

import json
from pathlib import Path

import torch.distributed as dist

from seqviews.pipeline.stream.stream import SequenceStream


def batches(stream: SequenceStream) -> list[list[str]]:
    return [batch.keys for batch in stream]


def work(rank: int, stream: SequenceStream, data: Path, out: Path) -> None:
    """Write the keys that this rank receives from a stream made before the group, and from others."""
    dist.init_process_group("gloo", init_method=f"file://{out}/store", rank=rank, world_size=2)
    found = {
        "state": stream.state_dict(),
        "rest": batches(stream),
        "made here": batches(SequenceStream(data / "train", 6)),
        "mixed": batches(SequenceStream([data / "train", data / "val"], 6)),
        "rank given": batches(SequenceStream(data / "train", 6, rank=1 - rank)),
        "both given": batches(SequenceStream(data / "train", 6, rank=2, ranks=3)),
    }
    try:
        SequenceStream(data / "train", 1)
    except ValueError as error:
        found["too small"] = str(error)
    (out / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
