"""Class means are exact, whatever was added and taken out."""

import torch
from torch.nn import functional

from streamlearn.learning.closed_form.class_means import ClassMeans

CPU = torch.device("cpu")


def test_class_means_are_exact_both_ways():
    x = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(30) % 3
    own = ClassMeans(12, CPU)
    own.grow(3)
    own.add(x, labels)
    own.add(x[:9], labels[:9], -1.0)
    assert own.counts.tolist() == [7, 7, 7]
    for label in range(3):
        exact = functional.normalize(x[9:][labels[9:] == label].mean(0), dim=0)
        assert torch.allclose(own.directions()[label], exact.float(), atol=1e-6)
