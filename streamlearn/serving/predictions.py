"""Predictions: what an answer says of each event, and whether it is one to act upon."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from streamlearn.serving.predictor import Answer
from streamlearn.stream.events import Event, Prediction

DIGITS = 6  # of scores; more say nothing
_prediction = partial(tuple.__new__, Prediction)  # skips NamedTuple's own constructor, which goes through Python


def predictions(
    events: Sequence[Event],
    answer: Answer,
    names: Sequence[str],
    *,
    step: int,
    champion: int,
    abstain_below: float,
    novel_share: float,
) -> list[Prediction]:
    """Say of each event what was answered.

    Before any label is known there is no label, and the reason is `no-known-label`. A score below `abstain_below` is no
    answer to act upon (`low-score`), and names its label all the same: Chow, "On optimum recognition error and reject
    tradeoff", IEEE Transactions on Information Theory 16, 1970. The score is compared as it is published.

    Args:
        events: what was asked.
        answer: what was answered.
        names: the labels, by their number.
        step: of the learning weights.
        champion: of the served weights.
        abstain_below: from 0 to 1.
        novel_share: an event is novel where at most this share of usual ones is as strange.
    """
    if answer.scores is None:
        return [
            Prediction(event.id, None, None, (), True, "no-known-label", step, champion, event.source)
            for event in events
        ]
    labels = np.array(names, dtype=object)[answer.scores.top].ravel().tolist()
    values = np.round(answer.scores.top_scores.astype(np.float64), DIGITS)
    flat = [{"label": label, "score": score} for label, score in zip(labels, values.ravel().tolist(), strict=True)]
    k, low = values.shape[1], (values[:, 0] < abstain_below).tolist()
    top = [flat[at : at + k] for at in range(0, len(flat), k)]
    if answer.novelty is None:
        novelty: Sequence[float | None] = [None] * len(events)
        novel = [False] * len(events)
    else:
        novelty = np.round(answer.novelty, DIGITS).tolist()
        novel = (answer.novelty >= 1 - novel_share).tolist()
    return [
        _prediction(
            (
                event.id, best[0]["label"], best[0]["score"], best, abstains, "low-score" if abstains else None,
                step, champion, event.source, how, new, None,
            )
        )
        for event, best, abstains, how, new in zip(events, top, low, novelty, novel, strict=True)
    ]  # fmt: skip
