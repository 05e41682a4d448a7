"""Measures of continual learning equal hand-made answers and those of Avalanche."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.evaluation.forgetting import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

RECORDED = json.loads((Path(__file__).parent.parent / "data" / "avalanche_matrices.json").read_text(encoding="utf-8"))
HAND_MADE = np.array([[0.9, 0.2, 0.1], [0.95, 0.8, 0.3], [0.5, 0.9, 0.7]])


@pytest.mark.parametrize("recorded", RECORDED["matrices"])
def test_avalanche_gives_the_same(recorded):
    matrix, untrained = np.array(recorded["matrix"]), np.array(recorded["untrained"])
    answers = recorded["answers"]
    assert backward_transfer(matrix) == pytest.approx(answers["stream_bwt"], abs=1e-9)
    assert backward_transfer(matrix) == pytest.approx(np.mean(list(answers["bwt"].values())), abs=1e-9)
    assert forward_transfer(matrix, untrained) == pytest.approx(answers["stream_forward_transfer"], abs=1e-9)
    assert forward_transfer(matrix, untrained) == pytest.approx(
        np.mean(list(answers["forward_transfer"].values())), abs=1e-9
    )
    # Avalanche's reference is the accuracy when the task was just learned, Chaudhry's the best one.
    if recorded["best_when_just_learned"]:
        assert forgetting(matrix) == pytest.approx(answers["stream_forgetting"], abs=1e-9)
    else:
        assert forgetting(matrix) > answers["stream_forgetting"]


def test_the_recorded_matrices_are_of_both_kinds():
    assert sorted(each["best_when_just_learned"] for each in RECORDED["matrices"]) == [False, False, True, True]


def test_by_hand():
    assert average_accuracy(HAND_MADE) == pytest.approx((0.5 + 0.9 + 0.7) / 3)
    assert forgetting(HAND_MADE) == pytest.approx(((0.95 - 0.5) + (0.8 - 0.9)) / 2)
    assert backward_transfer(HAND_MADE) == pytest.approx(((0.5 - 0.9) + (0.9 - 0.8)) / 2)
    assert forward_transfer(HAND_MADE, np.array([0.3, 0.1, 0.2])) == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)


def test_what_was_not_measured_is_left_out():
    lower = np.where(np.tri(3, dtype=bool), HAND_MADE, np.nan)
    assert forgetting(lower) == pytest.approx(forgetting(HAND_MADE))
    assert backward_transfer(lower) == pytest.approx(backward_transfer(HAND_MADE))
    assert math.isnan(forward_transfer(lower, np.zeros(3)))
    holes = HAND_MADE.copy()
    holes[2, 0] = np.nan
    assert forgetting(holes) == pytest.approx(0.8 - 0.9)
    assert average_accuracy(holes) == pytest.approx((0.9 + 0.7) / 2)


@pytest.mark.parametrize("measure", [forgetting, backward_transfer])
def test_one_task_can_neither_be_forgotten_nor_helped(measure):
    assert math.isnan(measure(np.array([[0.5]])))


@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.floats(0, 1), min_size=n * n, max_size=n * n)))
def test_forgetting_is_at_least_the_loss_since_a_task_was_learned(values):
    n = math.isqrt(len(values))
    matrix = np.array(values).reshape(n, n)
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-12
    assert -1 <= backward_transfer(matrix) <= 1
