"""Learning without forgetting, held to its paper."""

import torch
from torch.nn import functional

from tests.learners import batch_of, build, stream


def test_lwf_distils_over_the_classes_that_the_copy_knew(tiny):
    own = build(tiny, held=[{"name": "lwf", "every": 2, "strength": 3.0, "temperature": 1.5}])
    own.add(stream([0, 1, 2] * 5 + [0]))
    samples = stream([0, 1, 2, 0], start=100)
    with torch.no_grad():
        teacher = own.next_step().forward(batch_of(own, samples))
    copied = own.penalties[0].penalty(own.next_step(), batch_of(own, samples))["lwf"]
    assert copied.abs() < 1e-6  # the model is its own copy
    own.add(stream([3, 4] * 4, start=200))
    batch = batch_of(own, samples)
    student = own.next_step().forward(batch)[:, :3]
    p = functional.softmax(teacher / 1.5, dim=1)
    expected = 3 * 1.5**2 * (p * (p.log() - functional.log_softmax(student / 1.5, dim=1))).sum(1).mean()
    assert torch.allclose(own.penalties[0].penalty(own.next_step(), batch)["lwf"], expected, atol=1e-5)
