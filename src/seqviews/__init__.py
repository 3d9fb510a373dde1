"""Data and augmentation pipeline for learning what stays and what changes in a sequence."""

from seqviews.pipeline.files import provide_caches

__version__ = "0.2.0"

provide_caches()
