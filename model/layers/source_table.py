"""SourceTable: a trained vector for each of the sources that were seen last."""

import torch
from torch import Tensor, nn

VARIANCE = 0.25
"""Of what is known of a source by a record of it: the vector of a record is normal around that of its source."""


class SourceTable(nn.Module):
    """A table with a row for each of the `rows` sources that were seen last.

    A source without a row takes a free one or, if there is none, that of the source that was not seen for longest. The
    row starts at `sum of the vectors of its records in the batch / (their number + 1 / 4)`, what N(0, I) and these
    records say about it. Which source has which row is part of the module's state.

    Args:
        rows: Sources that have a row at most.
        dim: Size of a vector.

    Example:
        >>> table = SourceTable(rows=2, dim=1)
        >>> table.rows_of(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [2.0]]))
        tensor([1, 0, 1])
        >>> table.means.tolist()
        [[4.0], [1.3333333730697632]]
    """

    source: Tensor
    seen: Tensor

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.zeros(rows, dim))
        self.register_buffer("source", torch.full((rows,), -1))
        self.register_buffer("seen", torch.zeros(rows, dtype=torch.int64))  # the last batch, counted from 1

    @torch.no_grad()
    def rows_of(self, source: Tensor, vectors: Tensor) -> Tensor:
        """The row of each record's source, int64 `[B]`; a source that has none takes one.

        Args:
            source: int64 `[B]`, of the global batch.
            vectors: `[B, dim]`, of the same records; they decide where new rows start.

        Raises:
            ValueError: If the batch has more sources than the table has rows.
        """
        names, number, counts = torch.unique(source, return_inverse=True, return_counts=True)
        if len(names) > len(self.source):
            raise ValueError(f"a batch has {len(names)} sources, and the table {len(self.source)} rows: give it more")
        match = names[:, None] == self.source
        known = match.any(1)
        rows = match.int().argmax(1)
        age = self.seen.clone()
        age[rows[known]] = age.max() + 1
        new = ~known
        taken = age.argsort(stable=True)[: int(new.sum())]
        sums = vectors.new_zeros(len(names), vectors.shape[1]).index_add_(0, number, vectors)
        starts = sums / (counts[:, None] + VARIANCE)
        self.means[taken] = starts[new].to(self.means.dtype)
        self.source[taken] = names[new]
        rows[new] = taken
        self.seen[rows] = self.seen.max() + 1
        of_records: Tensor = rows[number]
        return of_records

    def scores(self, vectors: Tensor) -> Tensor:
        """How likely each row is that of a vector `[B, dim]`: `[B, rows]`, logits; -inf for rows without a source.

        `-||vector - row||^2 / (2 * 0.25)`.
        """
        square = vectors.square().sum(1)[:, None] + self.means.square().sum(1) - 2 * vectors @ self.means.T
        return (-square / (2 * VARIANCE)).masked_fill(self.source < 0, float("-inf"))
