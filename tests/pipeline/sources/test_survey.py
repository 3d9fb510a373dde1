from pathlib import Path
from threading import Event

import pytest
from toy_files import moving_square, write_sound, write_video

from seqviews.pipeline.sources.audio import SegmentCutter
from seqviews.pipeline.sources.survey import FileSurvey, survey_files
from seqviews.pipeline.sources.video import ClipCutter
from seqviews.pipeline.sources.windows import Window


@pytest.mark.parametrize("threads", [1, 3])
def test_a_survey_keeps_the_order_returns_errors_and_reports_progress(tmp_path: Path, threads: int) -> None:
    files = [write_sound(tmp_path / f"{i}.wav", 0.1 + i / 100) for i in range(30)]
    files[7].write_bytes(b"no sound")
    reports: list[tuple[str, float, float]] = []
    cutter = SegmentCutter(Window(5, 5))
    found = survey_files(files, cutter, threads=threads, progress=lambda *report: reports.append(report))
    assert isinstance(found[7], ValueError)
    frames = [survey.frames if isinstance(survey, FileSurvey) else None for survey in found]
    assert frames == [None if i == 7 else 11 + i for i in range(30)]
    assert reports == [("files read", i, 30) for i in range(1, 31)]


def test_a_survey_stops_if_asked(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    path = write_video(tmp_path / "x.mp4", moving_square(20, 48, 64))
    with pytest.raises(InterruptedError):
        ClipCutter(False, Window(4, 4)).survey(path, stop)


def test_an_error_without_a_name_gets_the_name_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cutter: SegmentCutter, file: Path) -> None:
        raise {"0": AttributeError, "1": ValueError, "2": MemoryError}[file.stem]("about nothing")

    monkeypatch.setattr(SegmentCutter, "read", fail)
    files = [tmp_path / f"{i}.wav" for i in range(3)]
    found = survey_files(files, SegmentCutter(Window(5, 5)))
    names = ["AttributeError", "ValueError", "MemoryError"]
    assert [str(e) for e in found] == [
        f"{f} cannot be read: {n}: about nothing" for f, n in zip(files, names, strict=True)
    ]
