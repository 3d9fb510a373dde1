from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from timit_trees import Louder, samples_of, sphere, write_tree
from toy_clips import digests

from seqviews.pipeline.datasets.timit.segments import Timit, UtteranceCutter, survey_timit
from seqviews.pipeline.datasets.timit.tree import assign_splits, find_utterances
from seqviews.pipeline.manifest import SPLITS, load_manifest
from seqviews.pipeline.prepare.write import prepare
from seqviews.pipeline.sources.windows import Window
from seqviews.pipeline.stream.stream import SequenceStream

CUTTER = UtteranceCutter(Window(20, 20), voices=2, converter=Louder())
FACTORS = ["speaker", "sex", "dialect", "sentence"]


def survey(folder: Path, cutter: UtteranceCutter = CUTTER, **options: Any) -> Timit:
    tree = find_utterances(folder)
    return survey_timit(tree, assign_splits(tree), cutter, **options)


def naive_mels(samples: np.ndarray) -> np.ndarray:
    power = np.abs(librosa.stft(samples / 32768, n_fft=512, hop_length=160, win_length=400, pad_mode="reflect")) ** 2
    mels = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=80) @ power
    return np.asarray(np.log(np.maximum(mels, 1e-10)).T)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("timit"))


@pytest.fixture(scope="module")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "timit"
    prepare(survey(tree), out, shard_sources=2)
    return out


def test_segments_are_the_frames_of_the_sounds(tree: Path, prepared: Path) -> None:
    seen, gains = 0, set()
    for split in SPLITS:
        names = load_manifest(prepared / split).factors
        for batch in SequenceStream(prepared / split, 4, factors=FACTORS):
            assert batch.converted is not None
            for i, key in enumerate(batch.keys):
                speaker, sentence, number = key.split("-")
                labels = [names[name][batch.factors[name][i]] for name in FACTORS]  # type: ignore[index]
                (path,) = tree.glob(f"*/*/{speaker.upper()}/{sentence.upper()}.WAV")
                assert labels == [speaker, speaker[0], path.parts[-3].lower(), sentence]
                samples = samples_of(str(path.relative_to(tree).with_suffix("")))
                expected = naive_mels(samples)[20 * int(number) :][:20]
                np.testing.assert_allclose(batch.x[i], expected, atol=2e-3)
                # a converter that multiplies by 1 to 2 adds one constant to a whole segment
                louder = batch.converted[i].float().numpy() - expected
                assert (louder.std(axis=(1, 2)) < 0.01).all()
                assert ((louder.mean(axis=(1, 2)) > -0.01) & (louder.mean(axis=(1, 2)) < 1.4)).all()
                gains |= {(key[:-5], round(float(gain), 2)) for gain in louder.mean(axis=(1, 2))}
                seen += 1
    assert len(gains) > 1.7 * len({name for name, _ in gains}), "voices differ from each other and between utterances"
    files = [p for p in tree.rglob("*.WAV") if not p.name.startswith("SA")]
    assert seen == sum((1 + len(samples_of(str(p.relative_to(tree).with_suffix("")))) // 160) // 20 for p in files)


def test_mean_and_deviation_are_those_of_the_segments_for_training(prepared: Path) -> None:
    frames = np.concatenate([batch.x.numpy().reshape(-1, 80) for batch in SequenceStream(prepared / "train", 4)])
    for split in SPLITS:
        mel = load_manifest(prepared / split).dataset.features.mel
        assert mel is not None
        np.testing.assert_allclose(mel.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-5)
        np.testing.assert_allclose(mel.std, frames.std(axis=0, dtype=np.float64), rtol=1e-4)


def test_no_speaker_is_in_two_splits_and_starts_are_seconds(tree: Path) -> None:
    timit = survey(tree)
    speakers = [{name.split("/")[2] for name in timit.sources(split)} for split in SPLITS]
    assert sorted(map(len, speakers)) == [1, 2, 2]
    assert len(set.union(*speakers)) == 5
    records = list(timit.records(timit.sources("train")[0], np.random.default_rng(0)))
    assert [record.start for record in records] == [pytest.approx(0.2 * i) for i in range(len(records))]
    assert {record.rate for record in records} == {100.0}


def test_the_bytes_do_not_depend_on_the_form_of_the_tree_and_the_workers(
    tree: Path, prepared: Path, tmp_path: Path
) -> None:
    write_tree(tmp_path / "lower" / "timit", lower=True, riff=True, suffix=".wav.wav")
    prepare(survey(tmp_path / "lower", threads=2), tmp_path / "out", shard_sources=2, workers=2)
    assert digests(tmp_path / "out") == digests(prepared)


def test_skipped_files_are_named_and_counted(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "x")
    (folder / "TEST/DR3/FDHC0/SI7.WAV").write_bytes(sphere(samples_of("a"))[:-100])
    (folder / "TEST/DR3/FDHC0/SX8.WAV").write_bytes(sphere(samples_of("a")[:480]))
    timit = survey(folder)
    assert [(skip.path.name, skip.fault) for skip in timit.skipped] == [("SI7.WAV", "damaged"), ("SX8.WAV", "short")]
    assert "30 ms" in timit.skipped[1].message
    assert timit.left_out["skipped"] == {"damaged": 1, "short": 1}
    assert len(timit.sources("test")) == 4
    with pytest.raises(ValueError, match=r"SI7\.WAV is truncated.*; 1 more"):
        survey(folder, strict=True)


def test_tails_are_counted(tree: Path) -> None:
    timit = survey(tree)
    lengths = []
    for name in timit.sources("test"):
        (path,) = [p for p in tree.rglob("*.WAV") if str(p.relative_to(tree)).lower() == f"{name}.wav"]
        lengths.append(1 + (path.stat().st_size - 1024) // 2 // 160)
    assert timit.left_out["tails"]["test"] == sum(length % 20 for length in lengths)
    assert timit.hours("test") == pytest.approx(sum(lengths) / 100 / 3600)


def test_trees_that_are_rejected(tmp_path: Path) -> None:
    folder = write_tree(tmp_path, sentences=["SX1"])
    (folder / "TEST/DR3/FDHC0/SX1.WAV").write_bytes((folder / "TRAIN/DR1/FCJF0/SX1.WAV").read_bytes())
    with pytest.raises(ValueError, match="are the same recording"):
        survey(folder)
    for path in folder.glob("TEST/*/*/*.WAV"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no utterance of the split test is left: .*SX1\.WAV is empty"):
        survey(folder)


def test_other_sounds_and_other_voices_are_other_parameters(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    before = survey(folder).parameters
    assert survey(folder).parameters == before
    assert survey(folder, replace(CUTTER, converter=Louder({"kind": "softer"}))).parameters != before
    (folder / "TEST/DR3/FDHC0/SX8.WAV").write_bytes(sphere(samples_of("another")))
    assert survey(folder).parameters["samples_sha256"] != before["samples_sha256"]
