"""Elastic weight consolidation, held to its papers."""

import torch

from tests.learners import batch_of, build, stream


def test_ewc_weighs_the_distance_by_a_fading_fisher_information(tiny):
    own = build(tiny, held=[{"name": "ewc", "every": 1000, "strength": 2.0, "decay": 0.5, "samples": 4}])
    own.add(stream([0, 1] * 4))
    ewc = own.penalties[0]
    ewc.consolidate(own.next_step(), own.memory)
    first = {name: value.clone() for name, value in ewc._fisher.items()}
    assert all((value >= 0).all() for value in first.values())
    own.add(stream([2, 3] * 4, start=100))
    ewc.consolidate(own.next_step(), own.memory)
    name = "head.weight"
    fresh = ewc._fisher[name] - 0.5 * first[name]
    assert (fresh > -1e-6).all()
    assert fresh[2:4].abs().sum() > 0  # rows that came since count from now on
    batch = batch_of(own, stream([0]))
    assert ewc.penalty(own.next_step(), batch)["ewc"] == 0
    with torch.no_grad():
        own.model.head.weight[:4] += 0.1
    assert torch.allclose(ewc.penalty(own.next_step(), batch)["ewc"], (ewc._fisher[name][:4] * 0.01).sum(), rtol=1e-3)


def test_ewc_needs_something_stored(tiny):
    own = build(tiny, "finetune", held=[{"name": "ewc", "every": 1}])
    own.penalties[0].consolidate(own.next_step(), own.memory)
    assert own.penalties[0].penalty(own.next_step(), None) == {}
    own.add(stream([0, 1] * 4))
    assert len(own.memory) == 8  # filled for it, though fine-tuning rehearses nothing
    assert own.penalties[0].penalty(own.next_step(), None)["ewc"] == 0
