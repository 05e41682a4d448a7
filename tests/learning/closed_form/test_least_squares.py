"""Least squares are those of one solve, whatever the blocks; what is taken out leaves no trace."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.learning.closed_form.least_squares import BLOCK, SHARE, LeastSquares

CPU = torch.device("cpu")


def rows(count, size=12, outputs=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draw).double(), torch.randn(count, outputs, generator=draw).double()


def solved(x, y, ridge):
    return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)


@settings(deadline=None)  # shared machines stall now and then
@given(sizes=st.lists(st.integers(1, BLOCK + 3), min_size=1, max_size=12), ridge=st.sampled_from([0.1, 10.0]))
def test_least_squares_are_those_of_one_solve_whatever_the_blocks(sizes, ridge):
    x, y = rows(sum(sizes))
    own = LeastSquares(12, ridge=ridge, device=CPU, dtype=torch.float64)
    own.grow(5)
    for part, targets in zip(x.split(sizes), y.split(sizes), strict=True):
        own.learn(part, targets)
    own.settle()
    assert torch.allclose(own.weights, solved(x, y, ridge), rtol=1e-9, atol=1e-10)
    assert torch.allclose(own.predict(x), x @ solved(x, y, ridge), atol=1e-8)


@settings(deadline=None)
@given(before=st.integers(0, 90), taken_out=st.integers(1, 30), after=st.integers(0, 90))
def test_what_is_unlearned_leaves_no_trace(before, taken_out, after):
    x, y = rows(before + taken_out + after)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(5)
    parts = [before, taken_out, after]
    (x0, x1, x2), (y0, y1, y2) = x.split(parts), y.split(parts)
    for part, targets in ((x0, y0), (x1, y1), (x2, y2)):
        if len(part):
            own.learn(part, targets)
    own.unlearn(x1, y1)
    assert torch.allclose(own.weights, solved(torch.cat([x0, x2]), torch.cat([y0, y2]), 1.0), rtol=1e-8, atol=1e-9)


def test_few_rows_wait_and_never_more_than_a_share():
    x, y = rows(4000)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(5)
    for taken in range(4000):
        own.learn(x[taken : taken + 1], y[taken : taken + 1])
        assert len(own.rows) <= min(BLOCK - 1, (taken + 1) // SHARE)
    own.settle()
    assert own.count == 4000
    assert not len(own.rows)


def test_a_new_output_has_seen_only_zeros():
    x, y = rows(40)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(4)
    own.learn(x[:20], y[:20, :4])
    own.grow(5)
    own.learn(x[20:], y[20:])
    own.settle()
    targets = torch.cat([torch.cat([y[:20, :4], torch.zeros(20, 1).double()], dim=1), y[20:]])
    assert torch.allclose(own.weights, solved(x, targets, 1.0), atol=1e-9)


def test_single_precision_stays_near_after_many_rows():
    x, y = rows(60, outputs=3)
    own = LeastSquares(12, ridge=10.0, device=CPU)
    own.grow(3)
    for _ in range(300):
        own.learn(x.float(), y.float())
    own.settle()
    exact = torch.linalg.solve(300 * x.T @ x + 10 * torch.eye(12).double(), 300 * x.T @ y)
    assert (own.weights.double() - exact).norm() / exact.norm() < 1e-4
