"""Raw data to shards, shards to batches."""

if __name__ != "seqviews.pipeline":
    raise ImportError("import seqviews.pipeline, not pipeline: two names would make two copies of every class")
