"""Training: a row of an experiment with a seed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqviews.model.evaluate.clips.panels import TEXTS
from seqviews.model.evaluate.evaluation import EvaluateConfig, check_evaluation
from seqviews.model.evaluate.speech.panels import CROSS
from seqviews.model.report.curves import read_log
from seqviews.model.report.html import Panel
from seqviews.model.reproduce.experiment import Experiment, Row
from seqviews.model.train import trainer
from seqviews.model.train.config import TrainConfig
from seqviews.model.train.runs import LOG, Run

REPORT = "report.html"  # what an evaluation writes last
SHOWN = {**{name: TEXTS[name] for name in ("swap_grid", "sampled")}, "cross_generation": ("Cross generation", CROSS)}


@dataclass(frozen=True, slots=True)
class Training:
    """A row with a seed: its configuration, whether it fits the data, and how far it is.

    Attributes:
        row: Of an experiment.
        config: Of the training.
        evaluation: Folder of its evaluation, which nobody but a reproduction writes.
    """

    row: Row
    config: TrainConfig
    evaluation: Path

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.config.out)

    @property
    def evaluated(self) -> bool:
        """Whether nothing is left to do."""
        return (self.evaluation / REPORT).is_file()

    def records(self) -> int:
        """Records that it was trained on so far, by its log."""
        steps = 0
        with suppress(OSError, ValueError):  # while it is written
            logged = read_log(self.folder / LOG)
            steps = int(logged["step"].max()) if len(logged.get("step", ())) else 0
        return self.config.max_clips if self.evaluated else min(self.config.max_clips, steps * self.config.batch_size)

    def panel(self) -> Panel | None:
        """The swaps of the evaluation, or what a method without an encoder samples; None if it has neither."""
        for name, (heading, caption) in SHOWN.items():
            still, moving = (self.evaluation / f"{name}{end}" for end in (".png", "-moving.webp"))
            if still.is_file():
                film = moving.read_bytes() if moving.is_file() else None
                return Panel(name, heading, caption, still.read_bytes(), film)
        return None

    def check_classes(self) -> None:
        """Check method, views and their arguments, for which no data is needed.

        Raises:
            ValueError: If one is not registered, or does not take an argument.
        """
        with self._named():
            trainer.check_classes(self.config)

    def check_data(self, experiment: Experiment) -> None:
        """Check that the row can be trained and evaluated on the data, before it is.

        Raises:
            ValueError: If it cannot.
        """
        with self._named():
            config, _, module = trainer.assemble(self.config)
            run = Run(self.folder, config, module.method.eval(), module.scale, 0)
            options: dict[str, Any] = dict(experiment.evaluation)
            if experiment.baseline not in (None, self.row.name):
                options["baseline"] = run  # whether there is one is all that matters
            check_evaluation(run, config.data, EvaluateConfig(**options))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors that name the row."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"the row {self.row.name}: {error}") from None
