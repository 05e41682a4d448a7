"""A step notes what was asked of it, and nothing of it outlives the step."""

import numpy as np
import torch

from tests.learners import batch_of, build, stream


def learned(folder, **settings):
    own = build(folder, **settings)
    samples = stream([0, 1] * 8)
    own.add(samples)
    return own, batch_of(own, samples)


def test_the_scores_are_those_of_the_first_forward_pass(tiny):
    own, batch = learned(tiny)
    step = own.next_step()
    first = step.forward(batch)
    step.forward(batch_of(own, stream([1], start=100)))
    assert torch.equal(step.notes.scores, first)
    assert not step.notes.scores.requires_grad


def test_losses_of_single_samples_are_noted_where_the_policy_watches_them(tiny):
    for policy, watched in (("reservoir", False), ("loss-aware", True)):
        own, batch = learned(tiny, policy=policy)
        step = own.next_step()
        step.forward(batch)
        assert list(step.notes.losses) == (list(batch.ids) if watched else [])
        step.seen(batch, torch.zeros(len(batch), 2))  # the newest ones stay
        assert all(loss == np.float32(np.log(2)) for loss in step.notes.losses.values())


def test_every_draw_counts_as_rehearsed(tiny):
    own, batch = learned(tiny, capacity=12, replay_size=5)
    step = own.next_step()
    drawn = [step.rehearse(own.memory, batch, draw) for draw in (0, 1)]
    assert step.notes.replayed == sum(map(len, drawn)) == 10


def test_the_next_step_begins_with_nothing(tiny):
    own, batch = learned(tiny)
    step = own.next_step()
    step.forward(batch)
    step.rehearse(own.memory, batch)
    fresh = own.next_step()
    assert (fresh.number, fresh.notes.scores, fresh.notes.losses, fresh.notes.replayed) == (2, None, {}, 0)
