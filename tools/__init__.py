"""Command-line tools; each file is also a script."""

if __name__ != "seqviews.tools":
    raise ImportError("import seqviews.tools, not tools: two names would make two copies of every class")
