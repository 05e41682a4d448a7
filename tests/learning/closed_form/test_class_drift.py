"""A class whose meaning changed is found soon, and one that errs as ever is left alone."""

import numpy as np
import pytest

from streamlearn.learning.closed_form.class_drift import ESTABLISHED, ClassDrift


def outcomes(test, pairs):
    return [stale for answered, true in pairs for stale in test.update([answered], [true])]


def test_a_class_whose_texts_go_by_another_name_is_found_soon():
    test = ClassDrift()
    assert not outcomes(test, [(label, label) for _ in range(40) for label in (0, 1, 2)])
    swapped = [pair for _ in range(15) for pair in ((0, 1), (1, 0), (2, 2))]
    assert sorted(set(outcomes(test, swapped))) == [0, 1]


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_class_that_errs_as_it_always_did_is_left_alone(share):
    draw = np.random.default_rng(0)
    test = ClassDrift()
    pairs = [(int(draw.random() < share), 0) for _ in range(3000)]
    assert not outcomes(test, [(1, 1)] * (ESTABLISHED + 1) + pairs)


def test_a_new_class_says_nothing_against_an_old_one():
    test = ClassDrift()
    assert not outcomes(test, [(0, 0)] * 100 + [(0, 1)] * ESTABLISHED)


def test_a_class_that_was_always_taken_for_another_has_not_changed():
    """Wrong labels look like that: what they are taken for is right."""
    test = ClassDrift()
    assert not outcomes(test, [(0, 0 if at % 20 else 1) for at in range(4000)])
