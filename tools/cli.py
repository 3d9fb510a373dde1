"""`seqviews TOOL ...`: every tool of this folder under one command."""

import importlib
import sys

TOOLS = {
    "prepare_sprites": "shard the Sprites data set from its sheets",
    "prepare_smmnist": "shard Stochastic Moving MNIST",
    "prepare_timit": "shard TIMIT, each segment also in other voices",
    "prepare_mug": "shard the faces of MUG",
    "prepare_folder": "shard your own videos, frames or sound files",
    "prepare_tars": "shard videos, images or sound of plain WebDataset tars",
    "finalize": "complete a data set whose parts were prepared apart",
    "check_shards": "verify a prepared data set",
    "show_views": "draw what a method sees at a step of a training",
    "train": "train a method on a prepared data set",
    "evaluate": "evaluate a trained method",
    "reproduce": "train and evaluate the rows of a table, side by side with what was published",
    "encode": "write the latents of a data set with a trained method",
    "bench": "measure stream, views and training against peers",
}


def main() -> None:
    """Run the tool that the first argument names; exits 2 if there is none."""
    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else "--help"
    if name not in TOOLS:
        width = max(map(len, TOOLS))
        listed = "\n".join(f"  {tool:{width}}  {what}" for tool, what in TOOLS.items())
        text = f"usage: seqviews TOOL [options]\n\n{listed}\n\nseqviews TOOL --help shows the options of a tool."
        asked = name in {"__help", "_h"}
        print(text, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    importlib.import_module(f"seqviews.tools.{name}").main(sys.argv[2:])
