"""A class is the mean of its samples' features, and an event is answered by the cosine to it."""

import torch
from torch.nn import functional

from streamlearn.core.batch import pad
from streamlearn.learning.strategies.ncm import SHARPNESS
from tests.learners import build, stream


def test_scores_are_the_cosines_to_the_means_of_all_that_came(tiny):
    own, samples = build(tiny, "ncm"), stream([0, 1, 2] * 8)
    own.add(samples)
    with torch.no_grad():
        features = functional.normalize(own.model.features(pad([sample.tokens for sample in samples])), dim=1)
        scores = own.strategy.scores(own.model, pad([sample.tokens for sample in samples]))
    labels = own.task.encode([sample.label for sample in samples])
    means = torch.stack([features[labels == label].double().mean(0) for label in range(3)])
    cosines = features.double() @ functional.normalize(means, dim=1).T
    assert torch.allclose(scores.double(), SHARPNESS * cosines, atol=1e-4)
