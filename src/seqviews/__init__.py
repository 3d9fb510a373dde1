"""Data and augmentation pipeline for learning what stays and what changes in a sequence."""

__version__ = "0.1.0"
