"""Shards to batches, in a deterministic order."""
