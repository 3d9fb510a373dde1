"""What is drawn is what the model sees, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import write_config
from tool_calls import Capsys, Failure, call, last_json

from seqviews.augment.views import MultiView, Views
from seqviews.model.report.images import film_strip, to_frames
from seqviews.model.train.preview import views_at
from seqviews.tools import show_views, train

SHUFFLED: dict[str, Any] = {"content": {"name": "temporal_shuffle"}, "max_clips": 60}
STEPS = 5  # of 12 clips, so the last two are of the second epoch


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Views]]:
    """A run's folder, and what its model saw at each step."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder, **SHUFFLED)
    seen: list[Views] = []
    original = MultiView.forward

    def spy(self: MultiView, *inputs: torch.Tensor | None) -> Views:
        seen.append(original(self, *inputs))  # type: ignore[arg-type]
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiView, "forward", spy)
        options = ("--data", toy, "--out", folder / "run", "--seed", 3)
        assert call(train.main, "--config", config, *options) == 0
    return folder / "run", seen


def contains(picture: np.ndarray[Any, Any], part: np.ndarray[Any, Any]) -> bool:
    """Whether the part is somewhere in the picture, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, part.shape)[..., 0, :, :, :]
    places = np.argwhere((windows[..., 0, 0, :] == part[0, 0]).all(-1))
    return any(np.array_equal(windows[y, x], part) for y, x in places)


def test_each_step_is_seen_as_it_was(trained: tuple[Path, list[Views]], toy: Path, tmp_path: Path) -> None:
    folder, seen = trained
    assert len(seen) == STEPS
    options = ["--config", str(folder.parent / "tiny.yaml"), "--data", str(toy), "--out", "x", "--seed"]
    config, other = (train.config_of(train.make_parser().parse_args([*options, seed])) for seed in ("3", "4"))
    for step, views in enumerate(seen, start=1):
        again = views_at(config, step).views
        for name in ("anchor", "motion", "order"):
            assert torch.equal(getattr(again, name), getattr(views, name))
    different, same = views_at(other, 1).views.motion, seen[0].motion
    assert different is not None
    assert same is not None
    assert not torch.equal(different, same)


def test_the_picture_holds_the_views_pixel_for_pixel(
    trained: tuple[Path, list[Views]], tmp_path: Path, capsys: Capsys
) -> None:
    run_folder, seen = trained
    out = tmp_path / "views.png"
    assert call(show_views.main, "--run", run_folder, "--step", 4, "--out", out, "--count", 3, "--json") == 0
    result = last_json(capsys.readouterr().out)
    assert (result["image"], result["epoch"], result["batch"], len(result["clips"])) == (str(out), 1, 0, 3)
    picture = np.asarray(Image.open(out))
    assert seen[3].motion is not None
    for clips in (seen[3].anchor, seen[3].motion, seen[3].content):
        for i in range(4):
            assert contains(picture, film_strip(to_frames(clips[i]))) == (i < 3)


def test_more_options_of_the_training(trained: tuple[Path, list[Views]], tmp_path: Path) -> None:
    run_folder, _ = trained
    picture = {}
    for name, more in (("same", []), ("smaller", ["--batch-size", "3"]), ("colours", ["--motion.hue", "0.1"])):
        out = tmp_path / f"{name}.png"
        assert call(show_views.main, "--run", run_folder, "--step", 2, "--out", out, "--", *more) == 0
        picture[name] = out.read_bytes()
    assert len(set(picture.values())) == 3


def test_mistakes_are_one_sentence(
    trained: tuple[Path, list[Views]], toy: Path, tmp_path: Path, failure: Failure
) -> None:
    run_folder, out = trained[0], tmp_path / "views.png"
    for options, code, message in (
        (["--run", run_folder, "--step", 6], 1, "there is no step 6: a training with these arguments has steps 1 to 5"),
        (["--run", run_folder, "--step", 0], 1, "there is no step 0"),
        (["--run", run_folder, "--step", 1, "--count", 0], 1, "--count must be at least 1"),
        (["--run", run_folder, "--step", 1, "--data", tmp_path], 1, "no manifest.json"),
        (["--run", tmp_path, "--step", 1], 1, "it is not the --out of a training"),
        (["--config", "sprite", "--data", toy, "--step", 1], 2, "no preset sprite and no such file"),
        (["--config", "demo", "--step", 1], 1, "--data"),
        (["--config", "demo", "--run", run_folder, "--step", 1], 2, "not allowed with"),
        (["--step", 1], 2, "--config --run is required"),
    ):
        assert message in failure(show_views.main, *options, "--out", out, code=code)
    assert not out.exists()
