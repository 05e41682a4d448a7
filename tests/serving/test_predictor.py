"""A batch that fails as a whole is answered event by event, with the same answer."""

import numpy as np

from streamlearn.core.scores import Scores
from streamlearn.serving.predictor import Reply, joined
from tests.targets import answer


def reply(n, start=0):
    rows = np.arange(start, start + n, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    found = answer(Scores(rows, rows.astype(int), rows), ["a", "b", "c"])
    return Reply([np.array([i]) for i in range(n)], found, np.ones(n, int))


def test_joined_answers_keep_their_order():
    whole = joined([reply(1, i) for i in range(5)])
    assert whole.answer is not None
    assert whole.answer.scores.probabilities[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(whole.tokens) == 5
    assert whole.unknown.sum() == 5


def test_no_answers_make_an_empty_one():
    tokens, found, unknown, novelty = joined([])
    assert (tokens, found, len(unknown), novelty) == ([], None, 0, None)


def test_replies_without_an_answer_have_none():
    assert joined([Reply([np.array([1])], None, np.zeros(1, int))] * 2).answer is None
