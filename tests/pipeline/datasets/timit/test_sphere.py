import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from timit_trees import RATE, samples_of, sphere

from seqviews.pipeline.datasets.timit.sphere import Fault, Unusable, read_utterance

SAMPLES = samples_of("x")


def riff(path: Path, samples: np.ndarray = SAMPLES, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    soundfile.write(path, samples, rate, subtype=subtype, format="WAV")
    return path.read_bytes()


def test_sphere_and_riff_are_the_samples_whatever_the_name(tmp_path: Path) -> None:
    big_endian = bytearray(sphere(SAMPLES, sample_byte_format="-s2 10"))
    big_endian[1024:] = SAMPLES.astype(">i2").tobytes()
    soundfile.write(tmp_path / "nist", SAMPLES, RATE, subtype="PCM_16", format="NIST")
    written = [(tmp_path / "nist").read_bytes(), riff(tmp_path / "riff")]
    for number, data in enumerate([sphere(SAMPLES), bytes(big_endian), *written]):
        path = tmp_path / f"{number}.WAV.wav"
        path.write_bytes(data)
        np.testing.assert_array_equal(read_utterance(path), SAMPLES.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("data", "fault", "message"),
    [
        (b"", "empty", "is empty"),
        (b"no sound at all", "damaged", "cannot be read as sound"),
        (sphere(SAMPLES)[:-1000], "damaged", "is truncated"),
        (sphere(SAMPLES)[:500], "damaged", "is truncated"),
        (sphere(SAMPLES)[:60], "damaged", "header is damaged"),
        (sphere(SAMPLES, sample_count="-i 1000"), "damaged", "more sound than its header states"),
        (sphere(SAMPLES, sample_count=None), "damaged", "no sample_count"),
        (sphere(SAMPLES, sample_count="-i many"), "damaged", "many"),
        (sphere(SAMPLES).replace(b"1024", b"x024", 1), "damaged", "header is damaged"),
        (sphere(SAMPLES, sample_coding="-s4 ulaw"), "damaged", "'ulaw'"),
        (sphere(SAMPLES, sample_coding="-s26 pcm,embedded-shorten-v2.00"), "compressed", "sph2pipe -f rif"),
        (sphere(SAMPLES, sample_rate="-i 8000"), "rate", "8000 Hz"),
        (sphere(SAMPLES[:8000], channel_count="-i 2", sample_count="-i 4000"), "stereo", "2"),
        (sphere(SAMPLES[:0]), "empty", "no samples"),
        (sphere(SAMPLES * 0), "silent", "digital silence"),
    ],
)
def test_every_fault_has_a_name(tmp_path: Path, data: bytes, fault: Fault, message: str) -> None:
    path = tmp_path / "SX1.WAV"
    path.write_bytes(data)
    with pytest.raises(Unusable, match=message) as caught:
        read_utterance(path)
    assert caught.value.fault == fault
    assert str(path) in str(caught.value)


def test_damaged_riff_and_missing_files(tmp_path: Path) -> None:
    whole, path = riff(tmp_path / "whole"), tmp_path / "SX1.WAV"
    nan = np.where(np.arange(2000) == 5, np.nan, 0.1)
    for data, fault in [
        (whole[:-1000], "damaged"),
        (whole[:40] + (len(SAMPLES)).to_bytes(4, "little") + whole[44:], "damaged"),  # half of its sound is stated
        (riff(path, np.stack([SAMPLES, SAMPLES], axis=1)), "stereo"),
        (riff(path, rate=44_100), "rate"),
        (riff(path, nan, subtype="FLOAT"), "damaged"),
        (riff(path, SAMPLES[:0]), "empty"),
    ]:
        path.write_bytes(data)
        with pytest.raises(Unusable) as caught:
            read_utterance(path)
        assert caught.value.fault == fault
    path.unlink()
    with pytest.raises(Unusable, match=r"SX1\.WAV cannot be read"):
        read_utterance(path)


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(Unusable("stereo", "x has 2 channels")))
    assert (error.fault, str(error)) == ("stereo", "x has 2 channels")
