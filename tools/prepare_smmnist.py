"""Shard Stochastic Moving MNIST: handwritten digits that bounce at random."""

from seqviews.pipeline.datasets.digits import read_digits
from seqviews.pipeline.datasets.smmnist import MovingDigits
from seqviews.tools.preparing import add_codec, add_options, prepare_with
from seqviews.tools.run import run_tool, tool_parser


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and write the three splits."""
    parser = tool_parser(__doc__ or "")
    digits = "folder of MNIST's IDX files, or sklearn"
    parser.add_argument("--digits", required=True, metavar="DIR|sklearn", help=digits)
    splits, clips = ("TRAIN", "VAL", "TEST"), "clips per split; 0 leaves it out"
    parser.add_argument("--clips", type=int, nargs=3, required=True, metavar=splits, help=clips)
    parser.add_argument("--digits-per-clip", type=int, choices=[1, 2], default=1, help="moving digits in a clip")
    parser.add_argument("--frames", type=int, default=15, help="frames in a clip")
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, in pixels")
    box = "height and width of a digit, in pixels; by default 7/16 of the frame's, at least 8"
    parser.add_argument("--digit-size", type=int, help=box)
    add_options(parser, shard_sources=500)
    add_codec(parser)
    run_tool(
        lambda a: prepare_with(
            MovingDigits(read_digits(a.digits), tuple(a.clips), a.digits_per_clip, a.frames, a.size, a.digit_size),
            a,
        ),
        parser,
        argv,
    )


if __name__ == "__main__":
    main()
