"""What is kept of an event's probabilities, and the loss that is read off them."""

import math

import numpy as np
import pytest

from streamlearn.core.scores import TOP, columns, loss, pack_top_scores, probabilities, restored


def test_the_loss_is_bounded_and_a_probability_that_is_no_number_counts_as_wrong():
    assert loss(1.0) == 0
    assert loss(0.5) == pytest.approx(math.log(2))
    assert loss(0.0) == loss(math.nan) == pytest.approx(-math.log(1e-6))


@pytest.mark.parametrize("classes", [1, TOP, 12])
def test_what_is_kept_comes_back_from_its_columns(classes):
    rows = pack_top_scores(np.random.default_rng(0).dirichlet(np.ones(classes), 7).astype(np.float32), 7)
    assert (restored(columns(rows)) == rows).all()


def test_where_nothing_was_known_every_label_had_nothing():
    assert probabilities(pack_top_scores(None, 2), np.array([0, -1])).tolist() == [0.0, 0.0]
