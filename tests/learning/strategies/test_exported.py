"""A linear head is exported with a row for each class, and with nothing that it holds beside."""

import torch

from streamlearn.learning.strategies.exported import linear


def test_a_class_without_a_row_scores_zero():
    head = linear(torch.ones(2, 3), torch.tensor([1.0, 2.0]), 4)
    assert head["weight"].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert head["bias"].tolist() == [1, 2, 0, 0]


def test_rows_that_are_allocated_ahead_are_left_out_and_no_bias_is_one_of_zeros():
    head = linear(torch.ones(16, 3, dtype=torch.float64), None, 2)
    assert (head["weight"].shape, head["weight"].dtype) == ((2, 3), torch.float32)
    assert head["bias"].tolist() == [0, 0]
