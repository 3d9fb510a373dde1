"""What every tool does the same: options, progress, errors, exit codes."""

import argparse
import json
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeAlias, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from seqviews.pipeline.files import naming
from seqviews.tools import exit_while_loading

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


def positive(text: str) -> int:
    """Convert an argument: a whole number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run_tool(main: Main, parser: argparse.ArgumentParser, argv: list[str] | None = None) -> NoReturn:
    """Parse the arguments, call `main` and exit: 0 if all was done, 1 for a failure, 2 for wrong arguments.

    What is printed meanwhile, by whatever code, goes through `printable`.
    """
    if signal.getsignal(signal.SIGINT) is exit_while_loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with redirect_stdout(_escaped(sys.stdout)), redirect_stderr(_escaped(sys.stderr)):
            sys.exit(_exit_code(main, parser, argv))
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(main: Main, parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    debug = False
    try:
        arguments = parser.parse_args(argv)
        debug = arguments.debug
        logging.basicConfig(format="%(message)s", force=True)
        logging.getLogger("seqviews").setLevel(logging.INFO)
        result = main(arguments)
        lines = [json.dumps(result)] if arguments.json else [f"{key}: {value}" for key, value in result.items()]
        with naming("<stdout>"):
            print("\n".join(lines), flush=True)
    except (KeyboardInterrupt, _Terminated) as stopped:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT)
    except Exception as error:
        if isinstance(error, OSError):
            _discard_output()
        with suppress(BrokenPipeError):
            if debug:
                traceback.print_exc()
            print(f"{parser.prog}: error: {_sentence(error)}", file=sys.stderr)
        return 1
    return 0


def _discard_output() -> None:
    """Let Python's own flush at the end find no closed pipe and no full disk."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(nowhere.fileno(), stream.fileno())


def printable(text: str) -> str:
    r"""Escape what is not printable, as a terminal's control sequences in a name, and hide the password of a URL.

    >>> printable("caf\u00e9 \x1b[2J")
    'café \\u001b[2J'
    """
    text = re.sub(r"(\w:/+)[^/\s@]+@", r"\1***@", text)
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


class _Escaped:
    """A text stream that makes printable what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _escaped(stream: TextIO | None) -> TextIO | None:
    return stream and cast(TextIO, _Escaped(stream))


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
    console = Console(file=getattr(sys.stderr, "stream", sys.stderr))  # the bar is made of control sequences
    if not console.is_terminal:
        yield lambda what, done, total: print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)
        return
    count = TextColumn("{task.completed:.10g}/{task.total:.10g}")
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
        tasks: dict[str, Any] = {}

        def update(what: str, done: float, total: float) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(printable(what), total=total)
            progress.update(tasks[what], completed=done)

        yield update
