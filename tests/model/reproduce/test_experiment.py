"""Experiments: those of the package, and files that are wrong."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqviews.model.registry import MODELS, find_class
from seqviews.model.reproduce.experiment import Experiment, Scale, experiments
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
            config = row.train_config(scale, {}, data="data", out="out", seed=3)
            assert config.seed == 3
            find_class(config.model["name"], MODELS)
        assert row.published.keys() == published
        assert row.source


def test_overrides_are_merged_and_published_rows_that_contradict_themselves_are_known() -> None:
    rows = {row.name: row for row in Experiment.read("table8").rows}
    given = {"data": "data", "out": "out", "max_clips": 7}
    config = rows["DSVAE, all terms by weighted sampling"].train_config("compact", {"batch_size": 3}, **given)
    assert (config.model["ablation"], config.model["width"]) == ("all-mws", 0.25)
    assert (config.max_clips, config.batch_size) == (7, 3)
    shared = {"batch_size": 3}
    sizes = {row.name: row.train_config("paper", shared, **given).batch_size for row in Experiment.read("table9").rows}
    assert list(sizes.values()) == [64, 128, 256]
    broken = {row.name for row in Experiment.read("table1").rows if not keeps_identity(row.published)}
    assert broken == {"MoCoGAN", "DSVAE"}


@pytest.mark.parametrize("name", ["table3", "table5", "table8"])
def test_moving_digits_are_prepared_at_the_size_of_the_scale_and_made_anew(name: str) -> None:
    experiment = Experiment.read(name)
    scales: dict[Scale, str] = {"compact": "32", "paper": "64"}
    for scale, size in scales.items():
        tool, *arguments = experiment.preparation(scale, "a {folder}")
        options = {arguments[i]: arguments[i + 1] for i in (arguments.index("--digits"), arguments.index("--size"))}
        assert (tool, options) == ("prepare_smmnist", {"--digits": "a {folder}", "--size": size})
    assert experiment.training_on("a {folder}") == {"make_from": "a {folder}"}


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
        ({"rows": [{"name": "x", "config": {"compact": 3}}]}, "rows 1: config is .*, not Mapping"),
        (
            {"rows": [{"name": "x", "config": {"tiny": "y"}}]},
            "something for the scale 'tiny': scales are compact, paper",
        ),
        ({"rows": [{"name": "x", "config": {}, "overrides": {"seed": 1}}]}, "sets seed, .* argument of reproduce"),
        ({"rows": [{"name": "x", "config": {}, "published": {"accuracy": "high"}}]}, "published is .*, not Mapping"),
        ({"columns": [{"title": "Acc", "metrics": [True]}]}, "columns 1: metrics is .*, not list"),
        ({"training": {"out": "elsewhere"}}, "sets out, which is an argument of reproduce"),
        ({"prepare": ["train", "--trust-code"]}, "prepares with 'train', which is not a preparation tool"),
        ({"columns": [{"title": "Acc", "metrics": []}]}, "names no metrics for the column 'Acc'"),
        ({"rows": [{"name": "x", "config": {}, "published": {"acc": 1.0}}]}, "a published acc of x, which no column"),
        ({"evaluation": {"judge_step": 3}}, "sets judge_step to 3 in evaluation: it takes positive numbers for seed, "),
        ({"evaluation": {"judge_steps": 0}}, "sets judge_steps to 0 in evaluation"),
        ({"evaluation": {"judge_steps": 1.5}}, "evaluation is .*, not Mapping"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    assert Experiment.read(str(path)).name == "tiny"
    path.write_text(yaml.safe_dump({**TINY, **change}))
    with pytest.raises(ValueError, match=message):
        Experiment.read(str(path))


def test_the_example_in_the_documentation_is_an_experiment(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    columns = [{"title": "Acc", "metrics": ["swap/way/accuracy"], "published": "accuracy"}]
    given = yaml.safe_dump({"title": "Mine", "columns": columns})
    (tmp_path / "mine.yaml").write_text(given + "".join(re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)))
    experiment = Experiment.read(str(tmp_path / "mine.yaml"))
    assert experiment.preparation("compact", "digits")[-1] == "32"
    assert experiment.rows[0].source == "My paper, Table 1"


def test_unknown_names_and_scales() -> None:
    with pytest.raises(ValueError, match="no experiment table99 and no such file; experiments: table1, "):
        Experiment.read("table99")
    row = Experiment.read("table1").rows[0]
    with pytest.raises(ValueError, match="the row MoCoGAN has no configuration for --scale large"):
        row.train_config("large", {}, data="data", out="out")  # type: ignore[arg-type]
    for shared, message in (
        ({"batch_size": 0}, "the row MoCoGAN: batch_size, "),
        ({"sead": 1}, "the row MoCoGAN: mocogan-sprites-compact with its overrides has an unknown key 'sead'"),
    ):
        with pytest.raises(ValueError, match=message):
            row.train_config("compact", shared, data="data", out="out")
