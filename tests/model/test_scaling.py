import torch
from toy_speech import FRAMES, N_MELS, SCALE


def test_mels_are_scaled_and_back() -> None:
    x = torch.randn(3, FRAMES, N_MELS, dtype=torch.float64)
    torch.testing.assert_close(SCALE(x * 2 - 6), x.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(SCALE.inverse(SCALE(x)), x.float(), atol=1e-5, rtol=1e-5)
