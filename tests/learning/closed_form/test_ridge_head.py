"""The head does not depend on how its samples came, and lets go of a class whose meaning changed."""

import numpy as np
import torch

from streamlearn.learning.closed_form.random_features import CENTRING
from streamlearn.learning.closed_form.ridge_head import RidgeHead

CPU = torch.device("cpu")


def head(dtype=torch.float64):
    return RidgeHead(2, 16, 64, ridge=1.0, seed=0, device=CPU, dtype=dtype)


def clouds(count, classes, seed=0, noise=0.3):
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, 2, 16))
    labels = draw.integers(classes, size=count)
    hidden = centres[labels] + noise * draw.standard_normal((count, 2, 16))
    return torch.from_numpy(hidden).float(), torch.from_numpy(labels)


def test_the_head_does_not_depend_on_how_the_first_samples_came():
    hidden, labels = clouds(200, 4)
    whole, parts = head(), head()
    whole.learn(hidden[:CENTRING], labels[:CENTRING], 4)
    for at in range(0, CENTRING, 16):
        parts.learn(hidden[at : at + 16], labels[at : at + 16], 4)
    for own in (whole, parts):
        own.learn(hidden[CENTRING:], labels[CENTRING:], 4)
        own.regression.settle()
    one, other = whole.evidence(hidden), parts.evidence(hidden)
    assert torch.allclose(one.ridge, other.ridge, atol=1e-5)
    assert torch.allclose(one.prototype, other.prototype, atol=1e-5)
    assert (one.ridge.argmax(1) == labels).float().mean() > 0.95


def test_a_prototype_fades_as_labels_come():
    hidden, labels = clouds(600, 2)
    own = head()
    own.learn(hidden[:4], labels[:4], 2)
    few = own.evidence(hidden).prototype.abs().max()
    own.learn(hidden[4:], labels[4:], 2)
    assert own.evidence(hidden).prototype.abs().max() < few / 20


def test_released_evidence_speaks_no_more_for_its_class():
    hidden, labels = clouds(300, 3)
    own = head()
    own.learn(hidden, labels, 3)
    own.release(1)
    evidence = own.evidence(hidden)
    assert not evidence.ridge[:, 1].any()
    assert not evidence.prototype[:, 1].any()
    assert (evidence.ridge.argmax(1) == labels)[labels != 1].float().mean() > 0.9


def test_most_of_what_came_of_a_class_is_in_the_weights():
    hidden, labels = clouds(1400, 2)
    own = head()
    own.learn(hidden[:1300], labels[:1300], 2)
    assert not len(own.regression.rows)
    for taken in range(1, 101):
        own.learn(hidden[1300 : 1300 + 1], torch.tensor([2]), 3)
        assert own.regression.targets[:, 2].sum() <= taken / 2
