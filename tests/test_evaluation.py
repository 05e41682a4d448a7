"""Prequential measures equal their definitions over the window, computed anew each time."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.evaluation import CERTAINLY_WRONG, Prequential

entry = st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("abc"), st.floats(0, 1))


@given(st.lists(entry, min_size=1, max_size=40), st.integers(1, 12))
def test_equals_the_definition(entries, size):
    prequential = Prequential(size)
    for each in entries:
        prequential.update(*each)
    window = entries[-size:]
    accuracy = sum(p == t for p, t, _ in window) / len(window)
    predicted, true = Counter(p for p, _, _ in window), Counter(t for _, t, _ in window)
    chance = sum(true[label] * predicted[label] for label in true) / len(window) ** 2
    loss = sum(-math.log(max(x, CERTAINLY_WRONG)) for _, _, x in window) / len(window)
    assert prequential.accuracy == pytest.approx(accuracy)
    assert prequential.loss == pytest.approx(loss)
    assert prequential.total_accuracy == pytest.approx(sum(p == t for p, t, _ in entries) / len(entries))
    if chance < 1:
        assert prequential.kappa == pytest.approx((accuracy - chance) / (1 - chance))
    else:
        assert math.isnan(prequential.kappa)


def test_has_no_figure_before_the_first_label():
    empty = Prequential(10)
    assert all(math.isnan(x) for x in (empty.accuracy, empty.total_accuracy, empty.loss, empty.kappa))
