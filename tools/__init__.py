"""Command-line tools; each file is also a script."""

import os
import signal
import sys
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NoReturn

if __name__ != "seqviews.tools":
    raise ImportError("import seqviews.tools, not tools: two names would make two copies of every class")


def exit_while_loading(number: int, frame: Any) -> NoReturn:
    """Exit on Ctrl-C while the modules of a tool load, which nothing needs to be closed for, without a traceback."""
    if parent_process() is None:
        os.write(2, b"seqviews: stopped\n")
    os._exit(128 + signal.SIGINT)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler and (
    sys.argv[0] == "-m" or Path(sys.argv[0]).name == "seqviews" or parent_process()  # not in a notebook
):
    signal.signal(signal.SIGINT, exit_while_loading)
