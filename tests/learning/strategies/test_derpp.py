"""Dark experience, held to its paper, and bounded."""

import numpy as np
import pytest
import torch

from streamlearn.learning.new_class import initialise_rows
from streamlearn.learning.strategies.derpp import distance
from tests.learners import batch_of, build, stream


def test_derpp_stores_what_the_model_said_before_the_step(tiny):
    own = build(tiny, "derpp")
    own.add(stream([0, 1] * 4))
    samples = stream([2, 1] * 4, start=100)
    batch = batch_of(own, samples)
    initialise_rows(own.model, batch, 2)  # as it happens before a step
    with torch.no_grad():
        said = own.next_step().forward(batch).numpy()
    own.add(samples)
    stored = own.memory.gather(np.arange(8, 16))
    assert np.allclose(stored.outputs[:, :3], said, atol=1e-4)
    assert np.isnan(stored.outputs[:, 3:]).all()
    older = own.memory.gather(np.arange(8))
    assert np.isfinite(older.outputs[:, :2]).all()
    assert np.isnan(older.outputs[:, 2:]).all()


def test_derpp_takes_a_class_that_was_not_known_for_a_score_of_zero():
    nan = np.nan
    scores = torch.tensor([[1.0, 2.0, 5.0], [3.0, 7.0, 9.0]], requires_grad=True)
    for outputs in ([[0, 4, nan, nan], [3, nan, nan, nan]], [[0, 4], [3, 0]]):
        value = distance(scores, np.array(outputs, np.float32))
        assert value.item() == pytest.approx((1 + 4 + 25 + 0 + 49 + 81) / 6)
    value.backward()
    assert torch.allclose(scores.grad, torch.tensor([[2.0, -4.0, 10.0], [0.0, 14.0, 18.0]]) / 6)
    assert distance(scores[:0], np.zeros((0, 4), np.float32)) == 0


@pytest.mark.parametrize(("stored", "moves"), [(None, True), (2, False)])
def test_derpp_holds_what_new_classes_say_of_old_samples(tiny, stored, moves):
    """The distance alone moves a new class's row, as soon as it answers for samples of before it came; but not where
    the scores that are stored are of fewer classes."""
    own = build(tiny, "derpp")
    if stored is not None:
        own.memory.max_outputs = stored
    own.add(stream([0, 1] * 4))
    batch = batch_of(own, stream([2] * 8, start=100))
    with torch.no_grad():
        own.model.head.weight[2] = 1.0
    own.optimizer.zero_grad()
    own.strategy.loss(own.next_step(), batch, own.memory)["dark"].backward()
    assert bool(own.model.head.weight.grad[2].any()) == moves


def test_two_draws_of_a_step_differ_and_repeat(tiny):
    own = build(tiny, "derpp", capacity=40)
    own.add(stream([0, 1] * 20))
    batch = batch_of(own, stream([0], start=100))
    one, two, again = (own.next_step().rehearse(own.memory, batch, draw) for draw in (0, 1, 0))
    assert one.ids != two.ids
    assert one.ids == again.ids


def test_stored_outputs_are_bounded(tiny):
    own = build(tiny, "derpp")
    own.memory.max_outputs = 20
    own.add(stream(range(80)))
    assert own.memory.gather(np.arange(4)).outputs.shape == (4, 20)
    assert own.memory.state_dict()["outputs"].shape == (20, 20)
    assert own.memory.nbytes < build(tiny).memory.nbytes + 20 * 20 * 4 + 1
