"""Prequential measures equal their definitions over the window, computed anew each time."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.evaluation.prequential import CERTAINLY_WRONG, Prequential, expected_calibration_error

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


more = st.tuples(
    st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 1 / 15, 0.2, 1.0])),
    st.dictionaries(st.sampled_from(["region", "vip"]), st.sampled_from(["eu", "us", "other"])),
)


def fed(entries, size, max_slices=100):
    prequential = Prequential(size, max_slices=max_slices)
    for first, (confidence, slices) in entries:
        prequential.update(*first, confidence=confidence, slices=slices)
    return prequential


@given(st.lists(st.tuples(entry, more), max_size=40), st.integers(1, 12))
def test_calibration_and_slices_equal_the_definition(entries, size):
    prequential, window = fed(entries, size), entries[-size:]
    bins, slices = {}, {}
    for (predicted, label, _), (confidence, own) in window:
        if confidence is not None:
            n = max((m for m in range(15) if confidence > m / 15), default=0)
            bins.setdefault(n, []).append((predicted == label, confidence))
        for pair in own.items():
            slices.setdefault(pair, []).append(predicted == label)
    total = sum(map(len, bins.values()))
    gaps = [len(of) / total * abs(mean(x for x, _ in of) - mean(c for _, c in of)) for of in bins.values()]
    assert prequential.calibration_error == pytest.approx(sum(gaps) if total else math.nan, abs=1e-9, nan_ok=True)
    assert prequential.slice_accuracy() == pytest.approx({pair: mean(rights) for pair, rights in slices.items()})
    confidences = np.array([c for of in bins.values() for _, c in of])
    correct = np.array([x for of in bins.values() for x, _ in of], bool)
    assert expected_calibration_error(confidences, correct) == pytest.approx(
        prequential.calibration_error, abs=1e-9, nan_ok=True
    )


def mean(values):
    found = list(values)
    return sum(found) / len(found)


@given(st.lists(st.tuples(entry, more), max_size=40), st.integers(0, 40), st.integers(1, 12), st.integers(0, 4))
def test_a_state_gives_the_same_future(entries, cut, size, max_slices):
    whole, first = fed(entries, size, max_slices), fed(entries[:cut], size, max_slices)
    state = first.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    rest = json.loads(json.dumps({name: value for name, value in state.items() if name not in tensors}))
    second = Prequential(size, max_slices=max_slices)
    second.update("a", "b", 0.5, confidence=0.5, slices={"x": "y"})  # all of this is replaced
    second.load_state_dict({**tensors, **rest})
    for each, (confidence, slices) in entries[cut:]:
        second.update(*each, confidence=confidence, slices=slices)
    assert figures(second) == pytest.approx(figures(whole), nan_ok=True)
    assert second.slice_accuracy() == whole.slice_accuracy()


def figures(prequential):
    names = ("accuracy", "total_accuracy", "loss", "kappa", "calibration_error", "count", "correct")
    return [getattr(prequential, name) for name in names]


def test_slices_past_the_bound_count_as_other():
    prequential = Prequential(10, max_slices=1)
    prequential.update("a", "a", 1, slices={"region": "eu"})
    prequential.update("a", "b", 1, slices={"region": "us", "plan": "pro", "tier": "1"})
    assert prequential.slice_accuracy() == {("region", "eu"): 1, ("region", "other"): 0, ("other", "other"): 0}


def test_update_returns_the_loss_and_leaves_out_a_confidence_that_is_none_or_nan():
    prequential = Prequential(10)
    assert prequential.update("a", "a", 0.5) == pytest.approx(math.log(2))
    prequential.update("a", "a", 0.5, confidence=math.nan)
    assert math.isnan(prequential.calibration_error)
