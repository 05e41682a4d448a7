"""Prequential evaluation: every event is predicted before it is learned, so each label tests what was served."""

import math
from collections import Counter, deque
from typing import Any

CERTAINLY_WRONG = 1e-6  # the probability that the loss takes for a label that the model did not know or excluded


class Prequential:
    """Accuracy, loss and Cohen's kappa over the last labelled events, and accuracy since the start.

    "Interleaved test-then-train" over a sliding window: Gama, Sebastiao and Rodrigues, "On evaluating stream learning
    algorithms", Machine Learning 90, 2013. Kappa as Cohen, 1960: agreement beyond what the two label distributions
    give by chance.

    Args:
        window: how many labelled events the window holds.
    """

    def __init__(self, window: int) -> None:
        self.window: deque[tuple[str | None, str, float]] = deque(maxlen=window)
        self.count = 0
        self.correct = 0
        self._correct = 0
        self._predicted: Counter[str | None] = Counter()
        self._true: Counter[str] = Counter()

    def update(self, predicted: str | None, label: str, probability: float) -> None:
        """Take in one labelled event: what was served (None where it abstained) and the label's probability then."""
        if len(self.window) == self.window.maxlen:
            old, old_label, _ = self.window[0]
            self._correct -= old == old_label
            _decrement(self._predicted, old)
            _decrement(self._true, old_label)
        self.window.append((predicted, label, -math.log(max(probability, CERTAINLY_WRONG))))
        self.count += 1
        self.correct += predicted == label
        self._correct += predicted == label
        self._predicted[predicted] += 1
        self._true[label] += 1

    @property
    def accuracy(self) -> float:
        """Share of right predictions in the window; nan before the first label."""
        return self._correct / len(self.window) if self.window else math.nan

    @property
    def total_accuracy(self) -> float:
        """Share of right predictions since the start; nan before the first label."""
        return self.correct / self.count if self.count else math.nan

    @property
    def loss(self) -> float:
        """Mean negative log-probability (nats) of the labels in the window; at most -log(1e-6) an event."""
        losses = [entry[2] for entry in list(self.window)]
        return math.fsum(losses) / len(losses) if losses else math.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa in the window; nan while only one label came and was predicted."""
        n = len(self.window)
        if not n:
            return math.nan
        predicted = dict(self._predicted)
        chance = sum(count * predicted.get(label, 0) for label, count in dict(self._true).items()) / n**2
        return (self.accuracy - chance) / (1 - chance) if chance < 1 else math.nan


def _decrement(counter: Counter[Any], key: str | None) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
