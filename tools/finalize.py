"""Complete a data set that was prepared in parts: verify every shard and write the manifests.

May be repeated. If shards are missing, names them and the parts that have to run again. With --json: for each split its
records, shards and bytes, and the failures, if there are any.
"""

import argparse
from typing import Any

from seqviews.pipeline.prepare.failures import Failure
from seqviews.pipeline.prepare.finalize import finalize
from seqviews.tools.preparing import add_max_failures, data_folder, summary
from seqviews.tools.run import progress_bar, run_tool, tool_parser


def complete(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the manifests; returns what the splits hold and what was left out."""
    failures: list[Failure] = []
    with progress_bar() as report:
        options = {"max_failures": arguments.max_failures, "failed": failures.append, "progress": report}
        manifests = finalize(arguments.data, **options)
    return summary(manifests, failures)


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and complete the data set."""
    parser = tool_parser(__doc__ or "")
    parser.add_argument("data", type=data_folder, metavar="URL", help="the --out of the parts")
    add_max_failures(parser)
    run_tool(complete, parser, argv)


if __name__ == "__main__":
    main()
