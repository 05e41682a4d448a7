"""Prequential evaluation: every event is predicted before it is learned, so each label tests what was served."""

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.arrays import arrays, tensors
from streamlearn.core.other import OTHER, apart
from streamlearn.core.target import Judge, Measure, Rows, Target

BINS = 15  # of confidence, for the expected calibration error
ONE = 1 << 40  # shares are summed as integers of this unit: what leaves the window takes away what it brought

Pair = tuple[str, str]


class Scored(NamedTuple):
    """One labelled event of the window: the essence of what was served (None where nothing was), its label, how wrong
    that was (0 to 1), the loss (nats), how sure the answer was (nan where it was not), its slices, and whether the
    prediction was one to act upon."""

    said: Target | None
    label: Target
    error: float
    loss: float
    confidence: float
    slices: tuple[Pair, ...]
    answered: bool


class Prequential:
    """Accuracy, loss, calibration and accuracy by slice over the last labelled events; of those that were answered,
    their share and their accuracy; and the task's own figures.

    An event's accuracy is 1 minus its error, which the task says: 0 or 1 where there are classes. "Interleaved
    test-then-train" over a sliding window: Gama, Sebastiao and Rodrigues, "On evaluating stream learning algorithms",
    Machine Learning 90, 2013. Coverage and accuracy of what was answered: El-Yaniv and Wiener, "On the foundations of
    noise-free selective classification", JMLR 11, 2010. `update` takes constant time. One thread updates; others may
    read meanwhile, and see figures that are at most one event apart from each other.

    Args:
        window: how many labelled events the window holds.
        judge: of the task.
        measure: the task's own figures; one that is empty.
        max_slices: how many pairs of slice and value have figures of their own. They are kept once met, so that their
            number is bounded over the whole life. Later pairs count as (slice, "other"), or as ("other", "other")
            where the slice has no pair of its own either: a slice or value of that name is kept apart.
    """

    def __init__(self, window: int, judge: Judge, measure: Measure, *, max_slices: int = 100) -> None:
        self.window: deque[Scored] = deque(maxlen=window)
        self.judge, self.measure = judge, measure
        self.max_slices = max_slices
        self._clear()

    def update(
        self,
        said: Target | None,
        label: Target,
        *,
        error: float,
        loss: float,
        confidence: float = math.nan,
        answered: bool | None = None,
        slices: Mapping[str, str] | None = None,
    ) -> None:
        """Take in one labelled event.

        Args:
            said: the essence of what was served; None where there was nothing to serve.
            label: what is true.
            error: how wrong that was, from 0 to 1.
            loss: the label's negative log-likelihood (nats).
            confidence: how sure the served answer was; nan leaves the event out of `calibration_error`.
            answered: whether it was served as an answer to act upon; None: where something was served.
            slices: the slices that the event is in, by name.
        """
        pairs = tuple(dict.fromkeys(map(self._pair, slices.items()))) if slices else ()
        answered = said is not None if answered is None else answered
        entry = Scored(said, label, error, loss, confidence, pairs, answered)
        if len(self.window) == self.window.maxlen:
            self._count(self.window[0], -1)
        self.window.append(entry)
        self._count(entry, 1)
        self.count += 1
        self._total += _units(1 - error)

    def relabel(self, number: int, label: Target, loss: float) -> bool:
        """Measure an event of the window anew, since another label is true; return whether it is still there.

        Args:
            number: `count` once it had been taken in.
            label: what is true.
            loss: that label's, given what was served.
        """
        place = len(self.window) - 1 - (self.count - number)
        if place < 0:
            return False
        entry = self.window[place]
        self._count(entry, -1)
        error = self.judge.error(entry.said, label)
        self.window[place] = changed = entry._replace(label=label, error=error, loss=loss)
        self._count(changed, 1)
        self._total += _units(1 - error) - _units(1 - entry.error)
        return True

    @property
    def accuracy(self) -> float:
        """Mean accuracy in the window; nan before the first label."""
        n = len(self.window)
        return self._right / (n * ONE) if n else math.nan

    @property
    def total_accuracy(self) -> float:
        """Mean accuracy since the start; nan before the first label."""
        return self._total / (self.count * ONE) if self.count else math.nan

    @property
    def coverage(self) -> float:
        """Share of the window that was answered, and not abstained from; nan before the first label."""
        return self._answered / len(self.window) if self.window else math.nan

    @property
    def answered_accuracy(self) -> float:
        """Mean accuracy of those that were answered; nan while none was."""
        answered = self._answered
        return self._answered_right / (answered * ONE) if answered else math.nan

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood (nats) of the labels in the window; nan before the first."""
        losses = [entry.loss for entry in list(self.window)]
        return math.fsum(losses) / len(losses) if losses else math.nan

    def figures(self) -> Mapping[str, float]:
        """Return the task's own figures, by name: of classes, `kappa`."""
        return self.measure.figures()

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over the window, as `expected_calibration_error`; nan without a confidence."""
        n = self._confident
        return sum(map(abs, self._gaps.copy())) / (n * ONE) if n else math.nan

    def slice_accuracy(self) -> dict[Pair, float]:
        """Return the mean accuracy for each (slice, value) that the window holds events of."""
        return {pair: right / (n * ONE) for pair, (right, n) in self._slices.copy().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that is known, as tensors and JSON values."""
        window = list(self.window)
        pairs = list(dict.fromkeys(chain(self._pairs, *(entry.slices for entry in window))))
        place = {pair: n for n, pair in enumerate(pairs)}
        said, labels = (entry.said for entry in window), (entry.label for entry in window)
        targets = tensors(self.judge.targets_packed([*said, *labels]))
        return {
            "count": self.count,
            "correct": _plain(self._total),
            "own_pairs": len(self._pairs),
            "pairs": [list(pair) for pair in pairs],
            **targets,
            "predicted": targets["labels"][: len(window)],
            "labels": targets["labels"][len(window) :],
            "losses": torch.tensor([entry.loss for entry in window], dtype=torch.float64),
            "confidences": torch.tensor([entry.confidence for entry in window], dtype=torch.float64),
            "answered": torch.tensor([entry.answered for entry in window], dtype=torch.bool),
            "slices": torch.tensor([place[pair] for entry in window for pair in entry.slices], dtype=torch.int32),
            "slice_counts": torch.tensor([len(entry.slices) for entry in window], dtype=torch.int32),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; where this window is shorter than the state's, its last events stay."""
        self._clear()
        self.count, self._total = int(state["count"]), _units(state["correct"])
        pairs = [(str(name), str(value)) for name, value in state["pairs"]]
        self._pairs.update(dict.fromkeys(pairs[: int(state["own_pairs"])]))
        self._names.update(name for name, _ in self._pairs)
        ends = np.cumsum([0, *state["slice_counts"].tolist()]).tolist()
        places = state["slices"].tolist()
        said, labels = (
            self.judge.targets_unpacked({**state, "labels": state[name].numpy()}) for name in ("predicted", "labels")
        )
        columns = [state[name].tolist() for name in ("losses", "confidences", "answered")]
        for row, (mine, label, loss, confidence, answered) in enumerate(zip(said, labels, *columns, strict=True)):
            assert label is not None
            own = tuple(pairs[place] for place in places[ends[row] : ends[row + 1]])
            error = self.judge.error(mine, label)
            self.window.append(Scored(mine, label, error, loss, confidence, own, answered))
        for entry in self.window:
            self._count(entry, 1)

    def _clear(self) -> None:
        for entry in self.window:
            self.measure.count(entry.said, entry.label, -1)
        self.window.clear()
        self.count = 0
        self._total = 0  # accuracy of all events, in units of 1 / ONE, as the next two
        self._right = 0
        self._answered_right = 0
        self._answered = 0
        self._confident = 0  # entries of the window that have a confidence
        self._gaps = [0] * BINS  # by bin of confidence: accuracies minus confidences, in units of 1 / ONE
        self._pairs: dict[Pair, None] = {}  # that have figures of their own, in order of arrival
        self._names: set[str] = set()
        self._slices: dict[Pair, tuple[int, int]] = {}  # (accuracy in units of 1 / ONE, all) in the window

    def _pair(self, pair: Pair) -> Pair:
        """Return what the pair is counted under; a new one gets figures of its own while there is room."""
        pair = apart(pair[0]), apart(pair[1])
        if pair in self._pairs:
            return pair
        if len(self._pairs) < self.max_slices:
            self._pairs[pair] = None
            self._names.add(pair[0])
            return pair
        return (pair[0] if pair[0] in self._names else OTHER, OTHER)

    def _count(self, entry: Scored, sign: int) -> None:
        """Count an entry that comes into the window (1) or leaves it (-1)."""
        right = _units(1 - entry.error)
        self._right += sign * right
        self._answered += sign * entry.answered
        self._answered_right += sign * (right if entry.answered else 0)
        self.measure.count(entry.said, entry.label, sign)
        if not math.isnan(entry.confidence):
            self._confident += sign
            self._gaps[bin_of(entry.confidence)] += sign * (right - _units(entry.confidence))
        for pair in entry.slices:
            rights, n = self._slices.get(pair, (0, 0))
            if n + sign:
                self._slices[pair] = (rights + sign * right, n + sign)
            else:
                del self._slices[pair]


class ServedAnswers:
    """What was said of the last `size` events that were measured, and the number of each measurement: so a label that
    turns out to be wrong is measured anew.

    Args:
        size: events; 0 keeps none.
        judge: of the task: it says what is kept of an answer.
    """

    def __init__(self, size: int, judge: Judge) -> None:
        self.size, self.judge = size, judge
        self._kept: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, event_id: str, number: int, kept: bytes) -> None:
        """Keep what was said of an event (the bytes of a `Judge.kept`), which was the measurement of this number."""
        self._kept.pop(event_id, None)
        self._kept[event_id] = number, kept
        if len(self._kept) > self.size:
            self._kept.popitem(last=False)

    def find(self, event_id: str) -> tuple[int, Rows] | None:
        """Return the number of an event's measurement, and what was said of it, (1,); None where it is not kept."""
        found = self._kept.get(event_id)
        return None if found is None else (found[0], np.frombuffer(found[1], self.judge.kept))

    def remove(self, event_id: str) -> None:
        """Keep what was said of an event no longer."""
        self._kept.pop(event_id, None)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, in columns."""
        kept = np.frombuffer(b"".join(kept for _, kept in self._kept.values()), self.judge.kept)
        numbers = torch.tensor([number for number, _ in self._kept.values()], dtype=torch.int64)
        return {"ids": list(self._kept), "numbers": numbers, **tensors(self.judge.columns(kept))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another kept; of too many the last."""
        kept = [row.tobytes() for row in self.judge.restored(arrays(state))]
        found = list(zip(state["ids"], zip(state["numbers"].tolist(), kept, strict=True), strict=True))
        self._kept = OrderedDict(found[max(0, len(found) - self.size) :])


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


def _units(share: float) -> int:
    """Return a share in units of 1 / ONE; whole numbers are exact."""
    return round(share * ONE)


def _plain(units: int) -> float | int:
    """Return units as a number, an integer where it is one."""
    return units // ONE if units % ONE == 0 else units / ONE
