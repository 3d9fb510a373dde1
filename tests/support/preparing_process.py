"""A preparation of toy clips by two workers in a process of its own; this module is also the script that it runs."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from toy_clips import ToyClips

from seqviews.pipeline.prepare.write import prepare

DATA = {"few": ToyClips(), "many": ToyClips(counts=(60, 6, 6), shape=(8, 64, 64, 3))}


def start(target: Path | str, data: str = "few", how: str = "script") -> subprocess.Popen[bytes]:
    """Start to prepare a data set, in a plain script or as a tool does."""
    return subprocess.Popen([sys.executable, __file__, str(target), data, how], stderr=subprocess.PIPE)


def main(_: Any = None) -> dict[str, Any]:
    prepare(DATA[sys.argv[2]], sys.argv[1], shard_sources=2, workers=2)
    return {}


if __name__ == "__main__":
    if sys.argv[3] == "tool":
        from seqviews.tools.run import run_tool, tool_parser

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background of a shell ignores it
        run_tool(main, tool_parser("x"), [])
    else:
        main()
