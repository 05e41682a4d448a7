"""What is usual is learned from known classes alone, in the order in which they are learned, and sets the threshold of
itself: the marks on usual events stay below the share that was asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.learning.novelty import ENOUGH, WINDOW, ConformalNovelty, energy


def usual(values, label=0):
    own = ConformalNovelty()
    own.learn(None, np.array([label]))
    own.learn(torch.tensor(values, dtype=torch.float64), np.full(len(values), label))
    return own


def novelty(own, values):
    return own.novelty(torch.tensor(values, dtype=torch.float64))


def test_energy_is_low_where_a_class_is_sure():
    scores = torch.tensor([[9.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert energy(scores).tolist() == pytest.approx([-9.000247, -2.098612, -1.098612], abs=1e-5)


@pytest.mark.parametrize("n", [0, 1, ENOUGH - 1])
def test_nothing_is_said_before_enough_is_known(n):
    assert novelty(usual([0.5] * n), [100.0]) is None


def test_novelty_is_the_rest_of_the_p_value():
    own = usual(list(range(ENOUGH)))
    n = ENOUGH
    assert novelty(own, [-1, 0, 0.5, n - 1, n]) == pytest.approx([0, 0, 1 / (n + 1), (n - 1) / (n + 1), n / (n + 1)])


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("scale", ["normal", "lognormal", "standard_cauchy"])
def test_usual_events_are_marked_no_more_than_the_share(share, scale):
    draw = np.random.default_rng(0)
    marked = []
    for _ in range(200):
        own = usual(getattr(draw, scale)(size=500).tolist())
        marked.append(np.mean(novelty(own, getattr(draw, scale)(size=500).tolist()) >= 1 - share))
    assert np.mean(marked) == pytest.approx(share, rel=0.1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=ENOUGH, max_size=ENOUGH + 50), st.lists(st.floats(), min_size=2))
def test_novelty_rises_with_strangeness_and_stays_within_its_bounds(known, asked):
    found = novelty(usual(known), sorted(asked, key=lambda value: (np.isnan(value), value)))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found < 1)).all()


def test_what_is_no_number_is_as_novel_as_can_be():
    own = usual([0.5] * ENOUGH)
    assert novelty(own, [float("nan"), 1.0])[0] == novelty(own, [float("nan"), 1.0])[1]


def test_samples_of_new_classes_and_what_is_not_finite_do_not_count():
    own = ConformalNovelty()
    own.learn(torch.tensor([1.0, 2.0, 3.0]), np.array([0, 4, 4]))  # new in this batch, so nobody knew them before
    assert list(own.window) == []
    own.learn(torch.tensor([4.0, float("nan"), float("inf"), 5.0]), np.array([0, 0, 4, 2]))
    assert list(own.window) == [4.0]
    assert own.counts.tolist() == [3, 0, 1, 0, 3]


def test_the_window_slides():
    own = usual(list(range(WINDOW + 10)))
    assert (len(own.window), min(own.window)) == (WINDOW, 10)
    assert novelty(own, [9.5])[0] == 0


def test_goes_on_from_its_state():
    own, again = usual(list(range(ENOUGH))), usual([7.0])
    again.load_state_dict(own.state_dict())
    for each in (own, again):
        each.learn(torch.tensor([5.5, 6.5]), np.array([0, 3]))
    assert list(own.window) == list(again.window)
    assert own.counts.tolist() == again.counts.tolist()
    assert novelty(own, [5.2]) == novelty(again, [5.2])
