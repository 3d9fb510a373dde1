"""What every tool does the same: options, progress, errors, exit codes."""

import argparse
import json
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Main: TypeAlias = Callable[[argparse.Namespace], Mapping[str, Any]]


def tool_parser(description: str) -> argparse.ArgumentParser:
    """A parser whose `--help` shows the defaults, with the options that every tool has."""
    with_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(program(), description=description, formatter_class=with_defaults)
    add_common_options(parser)
    return parser


def program() -> str:
    """What the person typed to start the tool: `seqviews train`, or `train.py`."""
    command = Path(sys.argv[0]).name
    return f"{command} {sys.argv[1]}" if command == "seqviews" and len(sys.argv) > 1 else command


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add --json and --debug."""
    parser.add_argument("--json", action="store_true", help="make the last line of stdout one JSON object")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")


def run_tool(main: Main, parser: argparse.ArgumentParser, argv: list[str] | None = None) -> NoReturn:
    """Parse the arguments, call `main` and exit: 0 if all was done, 1 for a failure, 2 for wrong arguments."""
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", force=True)
    logging.getLogger("seqviews").setLevel(logging.INFO)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        result = main(arguments)
    except (KeyboardInterrupt, _Terminated) as stopped:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        sys.exit(128 + (signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT))
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"{parser.prog}: error: {_sentence(error)}", file=sys.stderr)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGTERM, before)
    if arguments.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key}: {value}")
    sys.exit(0)


class _Terminated(BaseException):
    """SIGTERM came: end as on Ctrl-C, so that what is open gets closed."""


def _stop(number: int, frame: Any) -> NoReturn:
    raise _Terminated


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    expected = isinstance(error, ValueError | OSError | ArithmeticError)
    return text if text and expected else f"{type(error).__name__}: {text}"


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float, float], None]]:
    """Give a function `(what, done, total)` that shows a bar on a terminal, and a plain line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, total: print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)
        return
    count = TextColumn("{task.completed:.10g}/{task.total:.10g}")
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def update(what: str, done: float, total: float) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield update
