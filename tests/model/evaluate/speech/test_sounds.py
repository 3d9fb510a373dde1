import numpy as np

from seqviews.model.evaluate.speech.sounds import SOUNDS, Frames, SoundClasses, mfcc, probe


def test_the_probe_finds_sounds_in_z_and_not_in_noise() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(40, 20)).astype(np.float32) * 3
    basis = np.linalg.qr(np.random.default_rng(7).normal(size=(20, 20)))[0]

    def frames(n: int, noise: bool) -> Frames:
        mel = kinds[rng.integers(0, 40, n)] + rng.normal(size=(n, 20)).astype(np.float32) * 0.1
        z = rng.normal(size=(n, 20)) if noise else mel @ basis
        return Frames(z.astype(np.float32), mel)

    train = {noise: frames(1500, noise) for noise in (False, True)}
    sounds, noise = (probe(SoundClasses(train[n].mel), train[n], frames(500, n)) for n in train)
    assert sounds["probe/z"] > 0.95 * sounds["probe/mel"] > 0.8
    assert noise["probe/z"] < 0.2


def test_a_class_is_of_the_frame_alone() -> None:
    mel = np.random.default_rng(0).normal(size=(30, 6, 20)).astype(np.float32)
    sounds = SoundClasses(mel.reshape(-1, 20))
    classes = sounds(mel)
    assert classes.shape == (30, 6)
    assert len(np.unique(classes)) == SOUNDS
    assert classes[4, 2] == sounds(mel[4, 2])


def test_mfcc_are_a_cosine_transform() -> None:
    mel = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    k, n = np.arange(13)[:, None], np.arange(20)
    basis = np.sqrt(2 / 20) * np.cos(np.pi * k * (2 * n + 1) / 40)
    basis[0] /= np.sqrt(2)
    np.testing.assert_allclose(mfcc(mel), mel @ basis.T, atol=1e-5)
