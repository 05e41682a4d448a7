"""Predictions: what an answer says of each event, and whether it is one to act upon."""

from collections.abc import Sequence

import numpy as np

from streamlearn.core.target import Judge
from streamlearn.core.tuples import unchecked
from streamlearn.serving.predictor import Reply
from streamlearn.stream.events import Event, Prediction

DIGITS = 6  # of novelty; more say nothing
_prediction = unchecked(Prediction)


def predictions(
    events: Sequence[Event],
    reply: Reply,
    judge: Judge,
    *,
    step: int,
    champion: int,
    abstain_below: float,
    novel_share: float,
) -> list[Prediction]:
    """Say of each event what was answered.

    Before any label is known nothing is said, and the reason is `no-known-label`. A score below `abstain_below` is no
    answer to act upon (`low-score`), and says what it says all the same: Chow, "On optimum recognition error and reject
    tradeoff", IEEE Transactions on Information Theory 16, 1970. The score is compared as it is published.

    Args:
        events: what was asked.
        reply: what was answered.
        judge: of the task: it knows what is published where nothing is known.
        step: of the learning weights.
        champion: of the served weights.
        abstain_below: from 0 to 1.
        novel_share: an event is novel where at most this share of events of known classes is as novel.
    """
    if reply.answer is None:
        return [
            Prediction(event.id, None, None, judge.nothing, True, "no-known-label", step, champion, event.source)
            for event in events
        ]
    confidences = reply.answer.confidences()
    low = (confidences < abstain_below).tolist()
    scores: Sequence[float | None] = confidences.tolist()
    if np.isnan(confidences).any():
        scores = [None if score != score else score for score in scores]  # noqa: PLR0124 - nan differs from itself
    if reply.novelty is None:
        novelty: Sequence[float | None] = [None] * len(events)
        novel = [False] * len(events)
    else:
        novelty = np.round(reply.novelty, DIGITS).tolist()
        novel = (reply.novelty >= 1 - novel_share).tolist()
    said = reply.answer.published()
    return [
        _prediction(
            (
                event.id, label, score, values, abstains, "low-score" if abstains else None,
                step, champion, event.source, how, new, None,
            )
        )
        for event, label, score, values, abstains, how, new in zip(
            events, reply.answer.named(), scores, said, low, novelty, novel, strict=True
        )
    ]  # fmt: skip
