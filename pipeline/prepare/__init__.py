"""Preparation: raw data to shards."""
