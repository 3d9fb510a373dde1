"""Shard the Sprites data set from its Liberated Pixel Cup sheets."""

from pathlib import Path

from seqviews.pipeline.datasets.sprites import Sprites
from seqviews.tools.preparing import add_codec, add_options, prepare_with
from seqviews.tools.run import run_tool, tool_parser


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the three splits."""
    parser = tool_parser(__doc__ or "")
    folders = "folder with body/ bottomwear/ topwear/ hair/ shoes/"
    parser.add_argument("--sheets", type=Path, required=True, help=folders)
    add_options(parser, shard_sources=50)
    add_codec(parser)
    run_tool(lambda a: prepare_with(Sprites(a.sheets), a), parser, argv)


if __name__ == "__main__":
    main()
