"""Novelty is the distance from the nearest class, for as many classes as are kept."""

import numpy as np
import pytest
import torch

from streamlearn.evaluation.drift.class_distance import Novelty
from tests.evaluation.drift.test_contract import through_json

EAST, NORTH = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def test_nothing_can_be_said_before_the_first_class():
    assert np.isnan(Novelty().score(torch.ones(3, 2))).all()


def test_it_is_one_minus_the_cosine_to_the_nearest_mean():
    novelty = Novelty()
    novelty.learn(torch.cat([5 * EAST, NORTH, EAST + NORTH]), ["a", "b", "b"])
    b = NORTH[0] + (EAST + NORTH)[0] / 2**0.5
    expected = [0.0, 1 - float(b[1] / b.norm()), 1.0]
    assert novelty.score(torch.cat([EAST, NORTH, -NORTH])) == pytest.approx(expected, abs=1e-6)


def test_classes_past_the_limit_are_left_out():
    novelty = Novelty(2)
    for name in "abcde":
        novelty.learn(EAST if name == "a" else NORTH, [name])
    assert novelty.state_dict()["labels"] == ["a", "b"]
    novelty.learn(-EAST, ["c"])
    assert novelty.score(-EAST) == pytest.approx([1.0], abs=1e-6)


def test_a_restored_one_goes_on_the_same():
    draw = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(40, 6, generator=draw), [f"l{i % 11}" for i in range(40)]
    one, other = Novelty(20), Novelty(20)
    one.learn(rows[:25], labels[:25])
    other.load_state_dict(through_json(one.state_dict()))
    for each in (one, other):
        each.learn(rows[25:], [*labels[25:39], "new"])
    assert (one.score(rows) == other.score(rows)).all()
    assert torch.equal(one.state_dict()["sums"], other.state_dict()["sums"])
