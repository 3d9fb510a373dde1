"""A preparation of toy clips by two workers in a process of its own; this module is also the script that it runs."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from toy_clips import SlowClips, ToyClips

from seqviews.pipeline.prepare.parts import Part
from seqviews.pipeline.prepare.ray_engine import RayEngine
from seqviews.pipeline.prepare.write import prepare

MANY: dict[str, Any] = {"counts": (60, 6, 6), "shape": (8, 64, 64, 3)}
DATA = {"few": ToyClips(), "many": ToyClips(**MANY), "slow": SlowClips(**MANY)}


def start(target: Path | str, data: str = "few", how: str = "script") -> subprocess.Popen[bytes]:
    """Start to prepare a data set in a plain script.

    `how` can also be `tool`, as a tool does it; `2/5`, only that part; or `ray:ADDRESS`, on that cluster.
    """
    return subprocess.Popen([sys.executable, __file__, str(target), data, how], stderr=subprocess.PIPE)


def main(_: Any = None) -> dict[str, Any]:
    how: dict[str, Any] = {"workers": 2}
    if "/" in sys.argv[3]:
        how = {"part": Part.parse(sys.argv[3])}
    elif sys.argv[3].startswith("ray:"):
        how = {"engine": RayEngine(sys.argv[3].removeprefix("ray:"))}
    prepare(DATA[sys.argv[2]], sys.argv[1], shard_sources=2, **how)
    return {}


if __name__ == "__main__":
    if sys.argv[3] == "tool":
        from seqviews.tools.run import run_tool, tool_parser

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background of a shell ignores it
        run_tool(main, tool_parser("x"), [])
    else:
        main()
