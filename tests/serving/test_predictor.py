"""A batch that fails as a whole is answered event by event, with the same answer."""

import numpy as np

from streamlearn.core.scores import Scores
from streamlearn.serving.predictor import Answer, joined


def answer(n, start=0):
    rows = np.arange(start, start + n, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    return Answer([np.array([i]) for i in range(n)], Scores(rows, rows.astype(int), rows), np.ones(n, int))


def test_joined_answers_keep_their_order():
    whole = joined([answer(1, i) for i in range(5)])
    assert whole.scores is not None
    assert whole.scores.probabilities[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(whole.tokens) == 5
    assert whole.unknown.sum() == 5


def test_no_answers_make_an_empty_one():
    tokens, scores, unknown, novelty = joined([])
    assert (tokens, scores, len(unknown), novelty) == ([], None, 0, None)


def test_answers_without_scores_have_none():
    assert joined([Answer([np.array([1])], None, np.zeros(1, int))] * 2).scores is None
