"""Shards: records in verified tars."""
