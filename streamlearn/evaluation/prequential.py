"""Prequential evaluation: every event is predicted before it is learned, so each label tests what was served."""

import math
from collections import Counter, deque
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

CERTAINLY_WRONG = 1e-6  # the probability that the loss takes for a label that the model did not know or excluded
BINS = 15  # of confidence, for the expected calibration error
OTHER = "other"  # the value that slices past the bound are counted under
ONE = 1 << 40  # confidences are summed as integers of this unit: what leaves the window takes away what it brought

Pair = tuple[str, str]


class Scored(NamedTuple):
    """One labelled event of the window; `confidence` is nan where none was served, and `answered` is whether the
    prediction was one to act upon."""

    predicted: str | None
    label: str
    loss: float
    confidence: float
    slices: tuple[Pair, ...]
    answered: bool


class Prequential:
    """Accuracy, loss, Cohen's kappa, calibration and accuracy by slice over the last labelled events; and of those that
    were answered, their share and their accuracy.

    "Interleaved test-then-train" over a sliding window: Gama, Sebastiao and Rodrigues, "On evaluating stream learning
    algorithms", Machine Learning 90, 2013. Kappa as Cohen, 1960: agreement beyond what the two label distributions
    give by chance. Coverage and accuracy of what was answered: El-Yaniv and Wiener, "On the foundations of noise-free
    selective classification", JMLR 11, 2010. `update` takes constant time. One thread updates; others may read
    meanwhile, and see figures that are at most one event apart from each other.

    Args:
        window: how many labelled events the window holds.
        max_slices: how many pairs of slice and value have figures of their own. They are kept once met, so that their
            number is bounded over the whole life. Later pairs count as (slice, "other"), or as ("other", "other")
            where the slice has no pair of its own either.
    """

    def __init__(self, window: int, *, max_slices: int = 100) -> None:
        self.window: deque[Scored] = deque(maxlen=window)
        self.max_slices = max_slices
        self._clear()

    def update(
        self,
        predicted: str | None,
        label: str,
        probability: float,
        *,
        confidence: float | None = None,
        answered: bool | None = None,
        slices: Mapping[str, str] | None = None,
    ) -> float:
        """Take in one labelled event.

        Args:
            predicted: what was served; None where there was no label to serve.
            label: what is true.
            probability: what the model gave the label then.
            confidence: what the model gave the label that was served; None or nan leaves the event out of
                `calibration_error`.
            answered: whether it was served as an answer to act upon; None: where there was a label.
            slices: the slices that the event is in, by name.

        Returns:
            The event's loss: the label's negative log-probability (nats), at most -log(1e-6).
        """
        loss = -math.log(max(CERTAINLY_WRONG, probability))  # in this order, nan counts as wrong
        pairs = tuple(dict.fromkeys(map(self._pair, slices.items()))) if slices else ()
        answered = predicted is not None if answered is None else answered
        entry = Scored(predicted, label, loss, math.nan if confidence is None else confidence, pairs, answered)
        if len(self.window) == self.window.maxlen:
            self._count(self.window[0], -1)
        self.window.append(entry)
        self._count(entry, 1)
        self.count += 1
        self.correct += predicted == label
        return loss

    def relabel(self, number: int, label: str, probability: float) -> bool:
        """Measure an event of the window anew, since another label is true; return whether it is still there.

        Args:
            number: `count` once it had been taken in.
            label: what is true.
            probability: what the model gave that label then.
        """
        place = len(self.window) - 1 - (self.count - number)
        if place < 0:
            return False
        entry = self.window[place]
        self._count(entry, -1)
        self.window[place] = changed = entry._replace(label=label, loss=-math.log(max(CERTAINLY_WRONG, probability)))
        self._count(changed, 1)
        self.correct += (entry.predicted == label) - (entry.predicted == entry.label)
        return True

    @property
    def accuracy(self) -> float:
        """Share of right predictions in the window; nan before the first label."""
        return self._correct / len(self.window) if self.window else math.nan

    @property
    def total_accuracy(self) -> float:
        """Share of right predictions since the start; nan before the first label."""
        return self.correct / self.count if self.count else math.nan

    @property
    def coverage(self) -> float:
        """Share of the window that was answered, and not abstained from; nan before the first label."""
        return self._answered / len(self.window) if self.window else math.nan

    @property
    def answered_accuracy(self) -> float:
        """Share of right predictions among those that were answered; nan while none was."""
        answered = self._answered
        return self._answered_right / answered if answered else math.nan

    @property
    def loss(self) -> float:
        """Mean negative log-probability (nats) of the labels in the window; at most -log(1e-6) an event."""
        losses = [entry.loss for entry in list(self.window)]
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

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over the window, as `expected_calibration_error`; nan without a confidence."""
        n = self._confident
        return sum(map(abs, self._gaps.copy())) / (n * ONE) if n else math.nan

    def slice_accuracy(self) -> dict[Pair, float]:
        """Return the share of right predictions for each (slice, value) that the window holds events of."""
        return {pair: right / n for pair, (right, n) in self._slices.copy().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that is known, as tensors and JSON values."""
        names = sorted({name for entry in self.window for name in (entry.predicted, entry.label) if name is not None})
        number: dict[str | None, int] = {None: -1, **{name: n for n, name in enumerate(names)}}
        pairs = list(dict.fromkeys(chain(self._pairs, *(entry.slices for entry in self.window))))
        place = {pair: n for n, pair in enumerate(pairs)}
        return {
            "count": self.count,
            "correct": self.correct,
            "own_pairs": len(self._pairs),
            "pairs": [list(pair) for pair in pairs],
            "names": names,
            "predicted": torch.tensor([number[entry.predicted] for entry in self.window], dtype=torch.int32),
            "labels": torch.tensor([number[entry.label] for entry in self.window], dtype=torch.int32),
            "losses": torch.tensor([entry.loss for entry in self.window], dtype=torch.float64),
            "confidences": torch.tensor([entry.confidence for entry in self.window], dtype=torch.float64),
            "answered": torch.tensor([entry.answered for entry in self.window], dtype=torch.bool),
            "slices": torch.tensor([place[pair] for entry in self.window for pair in entry.slices], dtype=torch.int32),
            "slice_counts": torch.tensor([len(entry.slices) for entry in self.window], dtype=torch.int32),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; where this window is shorter than the state's, its last events stay."""
        self._clear()
        self.count, self.correct = int(state["count"]), int(state["correct"])
        names = [*state["names"], None]  # -1 is the last
        pairs = [(str(name), str(value)) for name, value in state["pairs"]]
        self._pairs.update(dict.fromkeys(pairs[: int(state["own_pairs"])]))
        self._names.update(name for name, _ in self._pairs)
        ends = np.cumsum([0, *state["slice_counts"].tolist()]).tolist()
        places = state["slices"].tolist()
        columns = [state[name].tolist() for name in ("predicted", "labels", "losses", "confidences")]
        answers = state["answered"].tolist() if "answered" in state else [number >= 0 for number in columns[0]]
        for row, (predicted, label, loss, confidence, answered) in enumerate(zip(*columns, answers, strict=True)):
            own = tuple(pairs[place] for place in places[ends[row] : ends[row + 1]])
            self.window.append(Scored(names[predicted], names[label], loss, confidence, own, answered))
        for entry in self.window:
            self._count(entry, 1)

    def _clear(self) -> None:
        self.window.clear()
        self.count = 0
        self.correct = 0
        self._correct = 0
        self._answered = 0
        self._answered_right = 0
        self._predicted: Counter[str | None] = Counter()
        self._true: Counter[str] = Counter()
        self._confident = 0  # entries of the window that have a confidence
        self._gaps = [0] * BINS  # by bin of confidence: right ones minus confidences, in units of 1 / ONE
        self._pairs: dict[Pair, None] = {}  # that have figures of their own, in order of arrival
        self._names: set[str] = set()
        self._slices: dict[Pair, tuple[int, int]] = {}  # (right, all) in the window

    def _pair(self, pair: Pair) -> Pair:
        """Return what the pair is counted under; a new one gets figures of its own while there is room."""
        if pair in self._pairs:
            return pair
        if len(self._pairs) < self.max_slices:
            self._pairs[pair] = None
            self._names.add(pair[0])
            return pair
        return (pair[0] if pair[0] in self._names else OTHER, OTHER)

    def _count(self, entry: Scored, sign: int) -> None:
        """Count an entry that comes into the window (1) or leaves it (-1)."""
        right = entry.predicted == entry.label
        self._correct += sign * right
        self._answered += sign * entry.answered
        self._answered_right += sign * (entry.answered and right)
        _add(self._predicted, entry.predicted, sign)
        _add(self._true, entry.label, sign)
        if not math.isnan(entry.confidence):
            self._confident += sign
            self._gaps[bin_of(entry.confidence)] += sign * (right * ONE - round(entry.confidence * ONE))
        for pair in entry.slices:
            rights, n = self._slices.get(pair, (0, 0))
            if n + sign:
                self._slices[pair] = (rights + sign * right, n + sign)
            else:
                del self._slices[pair]


def bin_of(confidence: float) -> int:
    """Return the bin, 0 to 14: bin m holds the confidences above m / 15 and up to (m + 1) / 15, and bin 0 also 0."""
    return min(max(math.ceil(confidence * BINS) - 1, 0), BINS - 1)


def expected_calibration_error(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by their size.

    Guo et al., "On calibration of modern neural networks", ICML 2017. Both arrays have shape (n,); nan when n is 0.
    """
    if not len(confidence):
        return math.nan
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)  # a bin's size cancels its own mean's
    return float(np.abs(gaps).sum() / len(confidence))


def _add(counter: Counter[Any], key: str | None, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]
