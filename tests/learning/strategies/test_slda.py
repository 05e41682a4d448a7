"""Sample by sample, the discriminant is that of one pass over all samples."""

import torch
from torch.nn import functional

from streamlearn.core.batch import pad
from tests.learners import build, stream


def test_the_discriminant_is_that_of_all_samples_at_once(tiny):
    own, samples = build(tiny, "slda"), stream([0, 1, 2] * 8)
    own.add(samples)
    tokens = pad([sample.tokens for sample in samples])
    with torch.no_grad():
        features = functional.normalize(own.model.features(tokens), dim=1).double()
        scores = own.strategy.scores(own.model, tokens)
    labels = own.task.encode([sample.label for sample in samples])
    means = torch.stack([features[labels == label].mean(0) for label in range(3)])
    away = features - means[labels]
    share, covariance = own.strategy.config.shrinkage, away.T @ away / len(samples)
    shrunk = (1 - share) * covariance + share * covariance.trace() / len(covariance) * torch.eye(len(covariance))
    weights = torch.linalg.solve(shrunk, means.T).T
    expected = features @ weights.T - 0.5 * (weights * means).sum(1)
    assert torch.allclose(scores.double(), expected, rtol=1e-3, atol=1e-2)
