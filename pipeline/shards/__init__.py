"""Shards: records in tars, verified."""
