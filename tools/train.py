"""Train a method on a prepared data set."""

import argparse
import json
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields
from datetime import timedelta
from typing import Any, NoReturn, get_type_hints

from docstring_parser import parse
from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]  # it builds its __all__
from lightning import Callback

from seqviews.model.plain_data import read_yaml
from seqviews.model.registry import MODELS, VIEWS, registered
from seqviews.model.train.config import TrainConfig, preset_path, presets
from seqviews.model.train.trainer import is_first_process, train
from seqviews.tools.preparing import add_cache_options, cache_of
from seqviews.tools.run import add_common_options, program, run_tool

COMPONENTS = {"model": MODELS, "motion": VIEWS, "content": VIEWS, "anchor": VIEWS}
PLAIN = bool | int | float | str | None | list | dict  # type: ignore[type-arg]  # with Any, jsonargparse imports classes
HELP = """
--model, --motion, --content and --anchor take the name of a registered class and so replace what a preset says;
arguments of the class follow as --model.NAME VALUE and change single arguments. --anchor null removes that of a preset.
"""


class PresetAction(ActionConfigFile):
    """`--config`: the name of a preset, or a YAML file of plain data."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: Any, value: Any) -> None:
        """Reads a preset by its name, anything else as a file."""
        try:
            values = read_yaml(preset_path(value))
        except ValueError as error:
            raise argparse.ArgumentError(None, str(error)) from None
        values.pop("out", None)  # a file of somebody else does not choose where to write
        ActionConfigFile.apply_config(parser, cfg, dest, json.dumps(values))


class OneLineParser(ArgumentParser):
    """jsonargparse's parser, with errors on one line, and with `--model NAME`."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parses arguments."""
        return super().parse_args(_with_named_components(sys.argv[1:] if args is None else args), *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exits with code 2."""
        super().error(" ".join(message.split()), ex)


def _with_named_components(args: Sequence[str]) -> list[str]:
    """Arguments with `--model NAME` and `--model=NAME` as `--model={"name": "NAME"}`."""
    merged: list[str] = []
    for arg in args:
        if merged and merged[-1].startswith("--") and merged[-1][2:] in COMPONENTS:
            merged[-1] += f"={arg}"
        else:
            merged.append(arg)
    option = rf"--({'|'.join(COMPONENTS)})=(?!null$)([\w.:-]+)"
    return [
        f"--{match[1]}={json.dumps({'name': match[2]})}" if (match := re.fullmatch(option, arg)) else arg
        for arg in merged
    ]


def make_parser() -> ArgumentParser:
    """An option for every field of `TrainConfig`; a preset gives those that it names."""
    parser = OneLineParser(prog=program(), description=(__doc__ or "") + HELP)
    parser.add_argument("--config", action=PresetAction, help=f"a YAML file, or a preset: {', '.join(presets())}")
    hints = get_type_hints(TrainConfig)
    described = {p.arg_name: " ".join((p.description or "").split()) for p in parse(TrainConfig.__doc__ or "").params}
    for field in fields(TrainConfig):
        kind, text = hints[field.name], described[field.name]
        default = None if field.default is MISSING else field.default
        if field.name in (*COMPONENTS, "excerpt"):
            kind, default = dict[str, PLAIN] | None, {"name": "cdsvae"} if field.name == "model" else None
        if field.name in COMPONENTS:
            text += f" Registered: {', '.join(registered(COMPONENTS[field.name]))}."
        required = field.name in ("data", "out")
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=kind, required=required, default=default, help=text)
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, however it ended")
    parser.add_argument("--max-time", type=str, help="stop after a time such as 90s, 60m or 2h")
    parser.add_argument("--trust-code", action="store_true", help="run the code of classes that are not registered")
    add_cache_options(parser)
    add_common_options(parser)
    return parser


def config_of(arguments: argparse.Namespace) -> TrainConfig:
    """The configuration that parsed arguments describe."""
    return TrainConfig(**{field.name: getattr(arguments, field.name) for field in fields(TrainConfig)})


def duration(text: str) -> timedelta:
    """A time such as 90s, 60m or 2h.

    >>> duration("60m")
    datetime.timedelta(seconds=3600)
    """
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match:
        raise ValueError(f"{text} is not a time such as 90s, 60m or 2h")
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def run(arguments: argparse.Namespace, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train; returns the run's folder and its steps."""
    done = train(
        config_of(arguments),
        resume=arguments.resume,
        max_time=None if arguments.max_time is None else duration(arguments.max_time),
        cache=cache_of(arguments),
        trust_code=arguments.trust_code,
        callbacks=callbacks,
    )
    if not is_first_process():
        sys.exit(0)  # the first process reports
    return {"run": str(done.folder), "steps": done.steps}


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and train."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    resumed = "(Checkpoint|Experiment logs) directory .* exists and is not empty"
    for message in (resumed, "`isinstance.treespec, LeafSpec.` is deprecated"):  # the latter is Lightning's own call
        warnings.filterwarnings("ignore", message)
    run_tool(run, make_parser(), argv)


if __name__ == "__main__":
    main()
