"""The features of the last learned samples are kept as long as room lasts, and forgotten ones leave no trace."""

import torch

from streamlearn.core.vocabulary import NONE
from streamlearn.learning.closed_form import RecentFeatures


def test_the_kept_ones_are_bounded_and_the_last():
    own = RecentFeatures(3)
    for n in range(5):
        own.add([f"e{n}"], torch.full((1, 2), float(n)), torch.tensor([n]))
    own.add(["e3"], torch.full((1, 2), 7.0), torch.tensor([0]))
    assert [name for name in ("e0", "e1", "e2", "e3", "e4") if name in own] == ["e2", "e3", "e4"]
    smaller = RecentFeatures(2)
    smaller.load_state_dict(own.state_dict())
    assert [smaller.correct(name, 8) is None for name in ("e2", "e3", "e4")] == [True, False, False]
    assert smaller.correct("e3", 9)[1:] == (8, 1)
    none = RecentFeatures(0)
    none.add(["e"], torch.zeros(1, 2), torch.tensor([0]))
    none.load_state_dict(own.state_dict())
    assert not len(none)


def test_the_window_of_learned_samples_closes_over_one_that_went():
    own, same = RecentFeatures(4), RecentFeatures(4)
    for n in range(6):
        own.add([f"e{n}"], torch.full((1, 2), float(n)), torch.tensor([n]))
    kept = own.forget("e3")
    assert (kept.label, kept.back, kept.features.tolist()) == (3, 3, [[3.0, 3.0]])
    for n in (0, 1, 2, 4, 5):
        same.add([f"e{n}"], torch.full((1, 2), float(n)), torch.tensor([n]))
    state = own.state_dict()
    assert state["ids"] == ["e2", "e4", "e5"]
    assert not (own._rows == 3).any()
    for name in ("e2", "e4", "e5"):
        one, other = own.correct(name, NONE), same.correct(name, NONE)
        assert (one.label, one.back) == (other.label, other.back)
        assert torch.equal(one.features, other.features)
    own.add(["e6", "e7"], torch.zeros(2, 2), torch.tensor([1, 1]))
    assert list(own.state_dict()["ids"]) == ["e4", "e5", "e6", "e7"]
