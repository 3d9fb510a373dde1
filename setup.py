"""The packages: `seqviews`, and the four folders and all below them as `seqviews.FOLDER`."""

from setuptools import find_packages, setup

FOLDERS = ("pipeline", "augment", "model", "tools")
setup(packages=["seqviews", *(f"seqviews.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS]))])
