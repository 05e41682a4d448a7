"""The asymmetric cross-entropy, held to its paper."""

import torch

from tests.learners import batch_of, build, stream


def test_er_ace_lets_new_samples_compete_among_their_own_classes(tiny):
    own = build(tiny, "er-ace")
    own.add(stream([0, 1, 2, 3] * 4))
    own.memory.load_state_dict(build(tiny).memory.state_dict())  # nothing to rehearse: the new loss alone
    own.optimizer.zero_grad()
    own.strategy.loss(own.next_step(), batch_of(own, stream([4, 1] * 4, start=100)), own.memory)["new"].backward()
    gradient = own.model.head.weight.grad[:5].abs().sum(dim=1)
    assert gradient[[1, 4]].min() > 0
    assert gradient[[0, 2, 3]].max() == 0


def test_er_ace_is_plain_replay_where_all_classes_are_in_the_batch(tiny):
    own = build(tiny, "er-ace")
    own.add(stream([0, 1, 2, 3] * 4))
    batch = batch_of(own, stream([3, 2, 1, 0], start=100))
    losses = own.strategy.loss(own.next_step(), batch, own.memory)
    replay = own.next_step().rehearse(own.memory, batch)
    for name, part in (("new", batch), ("rehearsed", replay)):
        step = own.next_step()
        assert torch.allclose(losses[name], own.task.loss(step.forward(part), step.labels(part)), atol=1e-5)


def test_er_ace_learns_nothing_new_of_a_single_class(tiny):
    own = build(tiny, "er-ace")
    own.add(stream([0, 1] * 4))
    assert own.strategy.loss(own.next_step(), batch_of(own, stream([2] * 4, start=100)), own.memory)["new"] == 0
