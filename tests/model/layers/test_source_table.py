"""Rows of sources: who has which, where they start, and what the scores are."""

import math

import torch
from torch import Tensor
from torch.testing import assert_close

from seqviews.model.layers.source_table import SourceTable


def rows(table: SourceTable, *source: int, vectors: Tensor | None = None) -> list[int]:
    return table.rows_of(torch.tensor(source), torch.ones(len(source), 2) if vectors is None else vectors).tolist()


def test_a_source_keeps_its_row_until_it_is_the_one_not_seen_for_longest() -> None:
    table = SourceTable(rows=3, dim=2)
    assert rows(table, 5, 8, 5) == [0, 1, 0]
    assert rows(table, 9, 5) == [2, 0]
    assert rows(table, 1, 9) == [1, 2]  # 8 was not seen for longest
    assert rows(table, 8, 1, 9) == [0, 1, 2]
    assert table.source.tolist() == [8, 1, 9]


def test_a_row_starts_at_the_mean_that_its_records_and_the_prior_give_and_stays() -> None:
    table, vectors = SourceTable(rows=3, dim=2), torch.tensor([[1.0, 2.0], [5.0, 0.0], [3.0, 4.0]])
    assert rows(table, 2, 1, 2, vectors=vectors) == [1, 0, 1]
    expected = torch.stack([vectors[1] / 1.25, (vectors[0] + vectors[2]) / 2.25, torch.zeros(2)])
    assert_close(table.means.data, expected)
    assert rows(table, 1, 2, vectors=vectors[:2]) == [0, 1]
    assert_close(table.means.data, expected)


def test_scores_are_of_sources_that_have_a_row_only() -> None:
    table, vectors = SourceTable(rows=3, dim=2), torch.tensor([[1.0, 2.0], [5.0, 0.0]])
    rows(table, 2, 1, vectors=vectors)
    scores = table.scores(vectors)
    for i in range(2):
        for j in range(2):
            distance = math.dist(vectors[i], table.means[j])
            assert math.isclose(scores[i, j], -(distance**2) / 0.5, rel_tol=1e-4, abs_tol=1e-5)
    assert torch.isneginf(scores[:, 2]).all()


def test_which_source_has_which_row_is_part_of_the_state() -> None:
    table, copy = SourceTable(rows=2, dim=2), SourceTable(rows=2, dim=2)
    rows(table, 6, 7)
    copy.load_state_dict(table.state_dict())
    assert rows(copy, 7, 6) == rows(table, 7, 6) == [1, 0]
