"""Raw data to shards, shards to batches.

>>> from seqviews.pipeline import SequenceStream, write_shards
"""

if __name__ != "seqviews.pipeline":
    raise ImportError("import seqviews.pipeline, not pipeline: two names would make two copies of every class")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqviews.pipeline.prepare.write import write_shards
    from seqviews.pipeline.records import endless
    from seqviews.pipeline.shards.sample import decode_sample
    from seqviews.pipeline.stream.excerpt import Excerpt
    from seqviews.pipeline.stream.made import MadeStream
    from seqviews.pipeline.stream.recordset import RecordSet
    from seqviews.pipeline.stream.stream import SequenceStream

__all__ = ["Excerpt", "MadeStream", "RecordSet", "SequenceStream", "decode_sample", "endless", "write_shards"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `augment`, which imports `records`, loads no codec."""
    homes = {
        "Excerpt": "stream.excerpt",
        "MadeStream": "stream.made",
        "RecordSet": "stream.recordset",
        "SequenceStream": "stream.stream",
        "decode_sample": "shards.sample",
        "endless": "records",
        "write_shards": "prepare.write",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
