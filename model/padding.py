"""Batches of records that differ in length, padded to the longest: their frames, and what is beyond them.

`lengths`, int64 `[B]`, are the numbers of frames of the records; None where nothing is padded.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Which of `frames` frames a record has: bool `[B, T]`.

    >>> frame_mask(torch.tensor([1, 3]), 3)
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def join_frames(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The frames `[N, ...]` of all records of a batch `[B, T, ...]`, one record after the other, without padding.

    >>> join_frames(torch.arange(6).view(2, 3), torch.tensor([1, 3]))
    tensor([0, 3, 4, 5])
    """
    return x.flatten(0, 1) if lengths is None else x[frame_mask(lengths, x.shape[1])]


def split_frames(frames: Tensor, shape: torch.Size, lengths: Tensor | None) -> Tensor:
    """The batch `[B, T, ...]`, padded with 0, of the frames `[N, ...]` of its records: the inverse of `join_frames`.

    Args:
        frames: One record after the other.
        shape: (B, T).
        lengths: Of the records.
    """
    if lengths is None:
        return frames.view(*shape, *frames.shape[1:])
    batch = frames.new_zeros(*shape, *frames.shape[1:])
    batch[frame_mask(lengths, shape[1])] = frames
    return batch


def clear_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """A batch `[B, T, ...]` with 0 beyond the records' lengths, and a gradient of 0 there.

    >>> clear_padding(torch.ones(2, 3), torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    if lengths is None:
        return x
    beyond = ~frame_mask(lengths, x.shape[1])
    return x.masked_fill(beyond.view(*beyond.shape, *[1] * (x.ndim - 2)), 0)


def recur(network: torch.nn.LSTM, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a `batch_first` LSTM over each record of a batch `[B, T, F]` alone.

    Returns:
        The states `[B, T, H]`, 0 beyond a record's length, and the last state of each direction, `[directions, B, H]`:
        after the record's last frame, or, backward, after its first.
    """
    if lengths is None:
        states, (last, _) = network(x)
        return states, last
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, (last, _) = network(packed)
    return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0], last
