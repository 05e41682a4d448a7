"""A class that is new to the head begins where its first samples lie, as loud as the others, the same each time."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from streamlearn.core.batch import Batch, pad
from streamlearn.learning.new_class import initialise_rows
from tests.learners import build, goes_on_the_same, stream

pytestmark = pytest.mark.usefixtures("one_thread")

OLD, NEW = [0, 1] * 8, [2, 0, 2, 3, 1, 2, 3, 0]


def batch_of(own, samples):
    numbers = np.array([own.task.labels.add(sample.label) for sample in samples])
    return Batch(pad([sample.tokens for sample in samples]), numbers, [sample.id for sample in samples])


def test_a_new_row_is_the_mean_direction_at_the_length_of_the_others(tiny):
    own = build(tiny)
    own.add(stream(OLD))
    batch, known = batch_of(own, stream(NEW, start=100)), own.model.head.size
    own.model.head.grow(len(own.task.groups), own.optimizer)
    before = own.model.head.weight[:known].clone()
    initialise_rows(own.model, batch, known)
    weight = own.model.head.weight.detach()
    assert torch.equal(weight[:known], before)
    assert weight[known:4].norm(dim=1) == pytest.approx([before.norm(dim=1).mean().item()] * 2)
    for label in (2, 3):
        rows = np.flatnonzero(batch.labels == label)
        mean = functional.normalize(own.model.features(batch.tokens[rows]), dim=1).mean(0)
        assert torch.cosine_similarity(mean, weight[label], dim=0) > 1 - 1e-5
    assert not weight[4:].any()


def test_the_first_classes_have_none_to_be_like(tiny):
    ends = [build(tiny, new_class=how) for how in ("zeros", "mean")]
    for own in ends:
        own.add(stream(OLD))
    assert ends[0].sha256() == ends[1].sha256()
    for own in ends:
        own.add(stream(NEW, start=100))
    assert ends[0].sha256() != ends[1].sha256()


@pytest.mark.parametrize("strategy", ["er", "er-ace", "derpp", "finetune"])
def test_it_goes_on_the_same_after_a_snapshot(tiny, tmp_path, strategy):
    samples = stream([*OLD, *NEW, 4, 5, 6, 7, 0, 1, 2, 3])
    assert goes_on_the_same(lambda: build(tiny, strategy, new_class="mean"), samples, 19, tmp_path)


@pytest.mark.parametrize("strategy", ["dual", "ridge", "ncm"])
def test_a_closed_form_needs_none(tiny, strategy):
    ends = [build(tiny, strategy, new_class=how) for how in ("zeros", "mean")]
    for own in ends:
        own.add(stream([*OLD, *NEW]))
    assert ends[0].sha256() == ends[1].sha256()


def test_numbers_that_are_not_finite_leave_a_row_at_zero(tiny):
    own = build(tiny)
    own.add(stream(OLD))
    features = own.model.features
    own.model.features = lambda tokens: torch.full_like(features(tokens), torch.nan)
    batch, known = batch_of(own, stream(NEW, start=100)), own.model.head.size
    own.model.head.grow(len(own.task.groups), own.optimizer)
    initialise_rows(own.model, batch, known)
    own.model.features = features
    assert not own.model.head.weight[known:].any()
    initialise_rows(own.model, batch, len(own.task.groups))  # the next batch of a class whose row is still empty
    assert own.model.head.weight[known:4].any(1).all()
