"""The command `evaluate`; what it computes is tested in tests/model/evaluate."""

import json
import shutil
from pathlib import Path

from square_models import SquareGenerator
from tool_calls import Capsys, Failure, call, last_json
from untrained import run_of, save_log, save_run

from seqviews.tools.evaluate import main


def evaluate(run: Path, data: Path, judges: Path, *options: object) -> int:
    return call(main, "--run", run, "--data", data, "--judges", judges, "--judge-steps", 4, *options)


def test_writes_metrics_images_and_a_report(few_squares: Path, tmp_path: Path, capsys: Capsys) -> None:
    run = save_run(tmp_path / "run")
    assert evaluate(run, few_squares, tmp_path / "judges", "--json") == 0
    printed = capsys.readouterr()
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert last_json(printed.out) == metrics
    weak = [name for name in ("shade", "way") if metrics[f"real/{name}/accuracy"] < 0.95]
    assert weak, "after four steps"
    assert [line.split()[5] for line in printed.err.splitlines() if "judge_steps" in line] == weak
    assert {"report.html", "swap_grid.png"} < {path.name for path in (run / "evaluation").iterdir()}


def test_code_that_no_package_registers_requires_trust(few_squares: Path, tmp_path: Path, capsys: Capsys) -> None:
    run_of(tmp_path / "run", SquareGenerator(), name="square_models.SquareGenerator")
    assert evaluate(tmp_path / "run", few_squares, tmp_path / "judges") == 1
    assert "--trust-code runs the code of other modules" in capsys.readouterr().err
    assert evaluate(tmp_path / "run", few_squares, tmp_path / "judges", "--trust-code") == 0
    assert "SquareGenerator has no encode, which reconstructions and swaps need" in capsys.readouterr().err.splitlines()


def test_bad_input_is_an_error_in_one_sentence(few_squares: Path, tmp_path: Path, failure: Failure) -> None:
    def error(run: Path, data: Path = few_squares) -> str:
        return failure(main, "--run", run, "--data", data, "--judges", tmp_path / "judges")

    run = save_run(tmp_path / "run")
    assert "it is not the --out of a training" in error(tmp_path / "nowhere")
    assert "not a prepared split" in error(run, tmp_path / "nothing")
    fit = "does not fit the clips of squares: frames are [1, 16, 16], the model was built for [3, 16, 16]"
    assert fit in error(save_run(tmp_path / "colour", (3, 16, 16)))
    changed = shutil.copytree(few_squares, tmp_path / "changed")
    manifest = json.loads((few_squares / "train" / "manifest.json").read_text())
    del manifest["dataset"]["dynamic"]["way"]
    for change, message in ((manifest, "train has no factor way: it has"), ({**manifest, "shards": []}, "shards: []")):
        (changed / "train" / "manifest.json").write_text(json.dumps(change))
        assert message in error(run, changed)
    save_log(run)
    (run / "log/metrics.csv").write_text("hello\n1\n")
    assert "is not the log of a training" in error(run)
    assert evaluate(run, few_squares, tmp_path / "judges", "--split", "everything") == 2
    assert not (tmp_path / "judges").exists()
    assert not (run / "evaluation").exists()
