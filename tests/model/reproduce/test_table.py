"""The table: means and ranges over seeds, published rows, the ceiling, differences and notes."""

import base64
import json
from pathlib import Path

from seqviews.model.report.html import Panel
from seqviews.model.reproduce.experiment import Column, Experiment, Row
from seqviews.model.reproduce.table import Measured, Table

COLUMNS = [
    Column(title="Acc", metrics=["drawn/accuracy", "redrawn/accuracy"], ceiling="real/accuracy", published="accuracy"),
    Column(title="IS", metrics=["drawn/is"], published="inception_score", percent=False),
]
CLAIM = {"accuracy": 0.9, "inception_score": 8.0, "intra_entropy": 0.1, "inter_entropy": 1.0}
ROWS = [Row(name="A|B", config={}, published=CLAIM, source="A paper"), Row(name="Generator", config={})]


def table() -> Table:
    experiment = Experiment(name="t", title="T", columns=COLUMNS, rows=ROWS, baseline="A|B", differs=["The judge."])
    real = {"real/accuracy": 1.0, "held/accuracy": 0.125}
    seeds = [{"drawn/accuracy": 0.5, "drawn/is": 2.0, **real}, {"drawn/accuracy": 0.7, "drawn/is": 4.0}]
    paired = {f"baseline_difference/drawn/is{end}": x for end, x in (("", -1.0), ("_low", -2.0), ("_high", 0.5))}
    measured = {
        "A|B": Measured(seeds, 1234, [10] * len(seeds)),
        "Generator": Measured([{"redrawn/accuracy": 0.25, **paired}], 5, [20]),
    }
    return Table(experiment, measured, {"scale": "compact"})


def test_each_row_has_ours_and_what_was_published() -> None:
    assert table().lines() == [
        ["A|B", "60.00% [50.00%, 70.00%]", "3.000 [2.000, 4.000]", "1,234", "10"],
        ["A|B, A paper", "90.00%", "8.000*", "", ""],
        ["Generator", "25.00%", "–", "5", "20"],  # noqa: RUF001  # the dash of a missing metric
        ["Generator minus A|B", "–", "-1.000 [-2.000, 0.500]", "", ""],  # noqa: RUF001
        ["real records (the judge's ceiling)", "100.00%", "–", "", ""],  # noqa: RUF001
        ["real records, one frame of each held (attack)", "12.50%", "–", "", ""],  # noqa: RUF001
    ]
    assert "does not keep to IS = exp(H(y) - H(y|x)), which holds by definition. (A|B)" in table().notes[1]
    assert table().notes[-1] == "The judge."


def test_a_ceiling_that_is_not_of_real_clips_has_no_attack() -> None:
    column = Column(title="voice", metrics=["swap/voice"], ceiling="swap/ceiling")
    experiment = Experiment(name="t", title="T", columns=[column], rows=[ROWS[1]])
    measured = {"Generator": Measured([{"swap/voice": 0.5, "swap/ceiling": 0.9}], 5, [20])}
    assert [line[:2] for line in Table(experiment, measured, {}).lines()] == [
        ["Generator", "50.00%"],
        ["real records (the judge's ceiling)", "90.00%"],
    ]


def test_it_is_written_as_markdown_json_and_a_page(tmp_path: Path) -> None:
    table().write(tmp_path)
    markdown = (tmp_path / "table.md").read_text()
    assert "| A\\|B | 60.00% [50.00%, 70.00%] |" in markdown
    assert len({line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["rows"]["A|B"]["seeds"][1]["drawn/is"] == 4.0
    assert not found["rows"]["A|B"]["keeps_identity"]
    page = (tmp_path / "report.html").read_text()
    assert "<td>8.000*</td>" in page
    assert "<li>The judge.</li>" in page
    assert "<img" not in page


def test_the_page_shows_the_image_of_a_row_and_links_to_its_reports(tmp_path: Path) -> None:
    panel = Panel("swap_grid", "Swaps", "Who < what.", b"still", b"moving")
    experiment = Experiment(name="t", title="T", columns=COLUMNS, rows=[ROWS[1]])
    measured = {"Generator": Measured([{}], 5, [20], ["evaluations/generator-0/report.html"], panel)}
    Table(experiment, measured, {}).write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert '<a href="evaluations/generator-0/report.html">' in page
    assert f'srcset="data:image/webp;base64,{base64.b64encode(b"moving").decode()}"' in page
    assert f'<img src="data:image/png;base64,{base64.b64encode(b"still").decode()}" alt="Generator: Swaps"' in page
    assert "<figcaption>Who &lt; what.</figcaption>" in page
