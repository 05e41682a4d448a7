"""A part of an answer weighs as much as it helps, within bounds."""

import pytest
import torch
from torch.nn import functional

from streamlearn.learning.closed_form.fusion import HIGHEST, LOWEST, Fusion
from streamlearn.learning.closed_form.ridge_head import Evidence


@pytest.mark.parametrize("useful", [True, False])
def test_the_rehearsed_head_gets_a_weight_where_it_helps(useful):
    draw = torch.Generator().manual_seed(0)
    fusion = Fusion()
    for _ in range(200):
        labels = torch.randint(3, (16,), generator=draw)
        right = functional.one_hot(labels, 3).float()
        noise = torch.randn(16, 3, generator=draw)
        evidence = Evidence(0.3 * right + 0.3 * noise, torch.zeros(16, 3), torch.zeros(16))
        rehearsed = (3 * right + noise) if useful else 3 * torch.randn(16, 3, generator=draw)
        fusion.learn(evidence, rehearsed.log_softmax(1), labels)
    assert (fusion.rehearsed > 0.5) == useful
    assert useful or fusion.rehearsed < 0.1
    assert all(low <= w <= high for low, w, high in zip(LOWEST, fusion.weights.tolist(), HIGHEST, strict=True))
