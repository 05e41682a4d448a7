"""A reference window against a sliding one: what the detectors that need no labels have in common."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch

from streamlearn.evaluation.drift.base import restored, saved
from streamlearn.evaluation.drift.family import WindowsConfig

T = TypeVar("T")


class Windows(ABC, Generic[T]):
    """Fills the reference, then slides: subclasses measure how far the two windows are apart.

    After an alarm, what came since the likeliest moment of the change begins a new reference: it is usual from now on.
    That moment is the start of those newest observations whose distance from the reference, weighted by how many there
    are, is greatest. At most reference + window + every observations are kept.
    """

    # Between samples of n and m from one source, the distance falls with n * m / (n + m) to this power.
    power: ClassVar[float]
    config: WindowsConfig

    def __init__(self) -> None:
        self.count = 0
        self.statistic = self.threshold = math.nan
        self._reference: list[T] = []
        self._sliding: list[T] = []  # in order; its oldest ones are dropped at tests, not at each observation
        self._ready = False

    def update(self, value: T) -> bool:
        """Take in an observation; return whether the sliding window differs from the reference."""
        self.count += 1
        if not self._ready:
            self.statistic = math.nan  # what was read at the last alarm is over
            self._reference.append(value)
            if len(self._reference) >= self.config.reference:
                self._learn(self._reference)
                self._ready = True
            return False
        self._sliding.append(value)
        if len(self._sliding) < self.config.window or self.count % self.config.every:
            return False
        del self._sliding[: -self.config.window]
        self.statistic, self.threshold = self._test(self._sliding)
        drift = self.statistic > self.threshold
        measure = self._distance if drift else self._other_distance
        if not measure(self._sliding) > self.threshold:
            return False
        self._reference, self._sliding, self._ready = self._sliding[-self._since_change(measure) :], [], False
        if len(self._reference) >= self.config.reference:  # the whole window is new, and as long as a reference
            self._learn(self._reference)
            self._ready = True
        return drift

    @abstractmethod
    def _learn(self, reference: Sequence[T]) -> None:
        """Prepare for comparisons with a full reference."""

    @abstractmethod
    def _distance(self, values: Sequence[T]) -> float:
        """Return how far values are from the reference."""

    def _other_distance(self, values: Sequence[T]) -> float:
        """Return how far values are from the reference in a direction that is not called drift: past the threshold,
        a new reference begins silently."""
        del values
        return -math.inf

    @abstractmethod
    def _threshold(self, sliding: Sequence[T]) -> float:
        """Return the distance that the sliding window exceeds with probability alpha if nothing has changed."""

    def _test(self, sliding: Sequence[T]) -> tuple[float, float]:
        return self._distance(sliding), self._threshold(sliding)

    def _since_change(self, measure: Callable[[Sequence[T]], float]) -> int:
        """Return how many of the newest observations the change is likeliest to have brought."""
        step = max(10, min(self.config.every, self.config.window // 10))
        sizes = range(step, self.config.window + 1, step)
        m = self.config.reference
        return max(sizes, key=lambda n: (n * m / (n + m)) ** self.power * measure(self._sliding[-n:]))

    def state_dict(self) -> dict[str, Any]:
        """Return both windows."""
        return {
            "count": self.count, "ready": self._ready,
            "statistic": saved(self.statistic), "threshold": saved(self.threshold),
            "reference": self._pack(self._reference), "sliding": self._pack(self._sliding),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over both windows; what is made of the reference is made again."""
        self.count, self._ready = int(state["count"]), bool(state["ready"])
        self.statistic, self.threshold = restored(state["statistic"]), restored(state["threshold"])
        self._reference, self._sliding = self._unpack(state["reference"]), self._unpack(state["sliding"])
        if self._ready:
            self._learn(self._reference)

    @abstractmethod
    def _pack(self, values: Sequence[T]) -> Any:  # noqa: ANN401 - a tensor or JSON values
        """Return observations as the state has them."""

    @abstractmethod
    def _unpack(self, values: Any) -> list[T]:  # noqa: ANN401 - what _pack returned
        """Return the observations that were packed."""


def gamma_quantile(shape: float, alpha: float) -> float:
    """Return what a gamma variable of this shape and scale 1 exceeds with probability `alpha`, to six digits."""
    low, high = 0.0, shape + 1.0
    own = torch.tensor(shape, dtype=torch.float64)

    def exceeded(value: float) -> float:
        return float(torch.special.gammaincc(own, torch.tensor(value, dtype=torch.float64)))

    while exceeded(high) > alpha:
        low, high = high, high * 1.5 + 5
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeded(middle) > alpha else (low, middle)
    return high
