"""Prequential measures equal their definitions over the window, computed anew each time."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.core.other import apart
from streamlearn.core.scores import CERTAINLY_WRONG
from streamlearn.core.scores import loss as loss_of
from streamlearn.evaluation.prequential import Prequential, expected_calibration_error
from tests.targets import judge, measure


def prequential_of(size, **bounds):
    return Prequential(size, judge(), measure(), **bounds)


def update(prequential, said, label, probability, *, confidence=None, **more):
    """Take in one event, as the measures do."""
    sure = math.nan if confidence is None else confidence
    error = float(said != label)
    prequential.update(said, label, error=error, loss=loss_of(probability), confidence=sure, **more)


entry = st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("abc"), st.floats(0, 1))


@given(st.lists(entry, min_size=1, max_size=40), st.integers(1, 12))
def test_equals_the_definition(entries, size):
    prequential = prequential_of(size)
    for each in entries:
        update(prequential, *each)
    window = entries[-size:]
    accuracy = sum(p == t for p, t, _ in window) / len(window)
    predicted, true = Counter(p for p, _, _ in window), Counter(t for _, t, _ in window)
    chance = sum(true[label] * predicted[label] for label in true) / len(window) ** 2
    loss = sum(-math.log(max(x, CERTAINLY_WRONG)) for _, _, x in window) / len(window)
    assert prequential.accuracy == pytest.approx(accuracy)
    assert prequential.loss == pytest.approx(loss)
    assert prequential.total_accuracy == pytest.approx(sum(p == t for p, t, _ in entries) / len(entries))
    if chance < 1:
        assert prequential.figures()["kappa"] == pytest.approx((accuracy - chance) / (1 - chance))
    else:
        assert math.isnan(prequential.figures()["kappa"])


def test_has_no_figure_before_the_first_label():
    empty = prequential_of(10)
    assert all(math.isnan(x) for x in (empty.accuracy, empty.total_accuracy, empty.loss, empty.figures()["kappa"]))


more = st.tuples(
    st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 1 / 15, 0.2, 1.0])),
    st.dictionaries(st.sampled_from(["region", "vip"]), st.sampled_from(["eu", "us", "other"])),
)


def fed(entries, size, max_slices=100):
    prequential = prequential_of(size, max_slices=max_slices)
    for first, (confidence, slices) in entries:
        update(prequential, *first, confidence=confidence, slices=slices)
    return prequential


@given(st.lists(st.tuples(entry, more), max_size=40), st.integers(1, 12))
def test_calibration_and_slices_equal_the_definition(entries, size):
    prequential, window = fed(entries, size), entries[-size:]
    bins, slices = {}, {}
    for (predicted, label, _), (confidence, own) in window:
        if confidence is not None:
            n = max((m for m in range(15) if confidence > m / 15), default=0)
            bins.setdefault(n, []).append((predicted == label, confidence))
        for name, value in own.items():
            slices.setdefault((name, apart(value)), []).append(predicted == label)
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
    second = prequential_of(size, max_slices=max_slices)
    update(second, "a", "b", 0.5, confidence=0.5, slices={"x": "y"})  # all of this is replaced
    second.load_state_dict({**tensors, **rest})
    for each, (confidence, slices) in entries[cut:]:
        update(second, *each, confidence=confidence, slices=slices)
    assert figures(second) == pytest.approx(figures(whole), nan_ok=True)
    assert second.slice_accuracy() == whole.slice_accuracy()


def figures(prequential):
    names = ("accuracy", "total_accuracy", "loss", "calibration_error", "count")
    return [*(getattr(prequential, name) for name in names), prequential.figures()["kappa"]]


def test_slices_past_the_bound_count_as_other():
    prequential = prequential_of(10, max_slices=1)
    update(prequential, "a", "a", 1, slices={"region": "eu"})
    update(prequential, "a", "b", 1, slices={"region": "us", "plan": "pro", "tier": "1"})
    assert prequential.slice_accuracy() == {("region", "eu"): 1, ("region", "other"): 0, ("other", "other"): 0}


def test_a_slice_that_is_called_other_is_not_mixed_with_the_rest():
    prequential = prequential_of(10, max_slices=3)
    for slices in ({"region": "other"}, {"other": "other"}, {"other": "eu"}):
        update(prequential, "a", "a", 1, slices=slices)
    update(prequential, "a", "b", 1, slices={"region": "us", "other": "us", "tier": "1"})
    own = {("region", "other_"): 1, ("other_", "other_"): 1, ("other_", "eu"): 1}
    rest = {("region", "other"): 0, ("other_", "other"): 0, ("other", "other"): 0}
    assert prequential.slice_accuracy() == own | rest


def test_a_confidence_that_is_none_or_nan_is_left_out():
    prequential = prequential_of(10)
    update(prequential, "a", "a", 0.5)
    assert prequential.loss == pytest.approx(math.log(2))
    update(prequential, "a", "a", 0.5, confidence=math.nan)
    assert math.isnan(prequential.calibration_error)


def test_an_answer_may_be_half_right():
    prequential = prequential_of(2)
    for error in (1.0, 0.25, 0.5):
        prequential.update("a", "a", error=error, loss=0.0, slices={"region": "eu"})
    assert prequential.accuracy == pytest.approx(0.625)
    assert prequential.slice_accuracy() == {("region", "eu"): pytest.approx(0.625)}
    assert prequential.total_accuracy == pytest.approx(1.25 / 3)


@given(st.lists(entry, min_size=1, max_size=12), st.sampled_from("abc"))
def test_another_label_is_measured_as_if_it_had_come_at_first(entries, label):
    first, second = prequential_of(20), prequential_of(20)
    for each in entries:
        update(first, *each)
    for each in [*entries[:-1], (entries[-1][0], label, 0.25)]:
        update(second, *each)
    assert first.relabel(len(entries), label, loss_of(0.25))
    assert figures(first) == pytest.approx(figures(second), nan_ok=True)
