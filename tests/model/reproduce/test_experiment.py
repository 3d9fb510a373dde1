"""Experiments: those of the package, and files that are wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from seqviews.model.registry import MODELS, find_class
from seqviews.model.reproduce.experiment import Experiment, experiments
from seqviews.model.reproduce.table import keeps_identity

TINY: dict[str, Any] = {
    "title": "tiny",
    "columns": [{"title": "Acc", "metrics": ["swap/way/accuracy"]}],
    "rows": [{"name": "A method", "config": {"compact": "sprites-compact"}}],
}


@pytest.mark.parametrize("name", experiments())
def test_every_row_has_a_configuration_of_each_scale_and_a_published_value_of_each_column(name: str) -> None:
    experiment = Experiment.read(name)
    published = {column.published for column in experiment.columns if column.published}
    for row in experiment.rows:
        for scale in ("compact", "paper"):
            config = row.train_config(scale, "data", "out", 3)
            assert config.seed == 3
            find_class(config.model["name"], MODELS)
        assert row.published.keys() == published
        assert row.source


def test_overrides_are_merged_and_published_rows_that_contradict_themselves_are_known() -> None:
    rows = {row.name: row for row in Experiment.read("table8").rows}
    config = rows["DSVAE, all terms by weighted sampling"].train_config("compact", "data", "out", 0, max_clips=7)
    assert (config.model["ablation"], config.model["width"], config.max_clips) == ("all-mws", 0.25, 7)
    sizes = {row.name: row.train_config("paper", "d", "o", 0).batch_size for row in Experiment.read("table9").rows}
    assert list(sizes.values()) == [64, 128, 256]
    broken = {row.name for row in Experiment.read("table1").rows if not keeps_identity(row.published)}
    assert broken == {"MoCoGAN", "DSVAE"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "has an unknown key 'colour'; known: name, title, columns"),
        ({"rows": [{"name": "x", "config": {}, "sead": 1}]}, "rows 1 has an unknown key 'sead'"),
        ({"rows": []}, "has no rows: it is not an experiment"),
        ({"columns": [{"title": "Acc"}]}, "columns 1: missing .* 'metrics'"),
        ({"title": 3}, "title is '3', not str"),
        ({"baseline": "B"}, "has no row B, which is its baseline"),
        ({"rows": [{"name": "x", "config": {}}, {"name": "X", "config": {}}]}, "two rows of one name"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    assert Experiment.read(str(path)).name == "tiny"
    path.write_text(yaml.safe_dump({**TINY, **change}))
    with pytest.raises(ValueError, match=message):
        Experiment.read(str(path))


def test_unknown_names_and_scales() -> None:
    with pytest.raises(ValueError, match="no experiment table99 and no such file; experiments: table1, "):
        Experiment.read("table99")
    row = Experiment.read("table1").rows[0]
    with pytest.raises(ValueError, match="the row MoCoGAN has no configuration for --scale large"):
        row.train_config("large", "data", "out", 0)  # type: ignore[arg-type]
