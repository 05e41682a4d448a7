"""A reference window against a sliding one: what the detectors that need no labels have in common."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from streamlearn.registry import Config as BaseConfig

T = TypeVar("T")
Floats = npt.NDArray[np.float64]


class WindowsConfig(BaseConfig):
    """The two windows, and how sure an alarm must be."""

    reference: int = Field(500, ge=50, le=100_000, description="Observations that stand for what is usual.")
    window: int = Field(200, ge=20, le=100_000, description="The latest observations, which are compared with them.")
    every: int = Field(20, ge=1, le=100_000, description="Observations between two tests.")
    alpha: float = Field(
        1e-6, gt=0, lt=0.5, description="Chance that one test calls a drift where there is none; there are many tests."
    )


class Windows(Generic[T]):
    """Fills the reference, then slides: subclasses measure how far the two windows are apart.

    After an alarm the sliding window begins a new reference: what has come is usual from now on.
    """

    config: WindowsConfig

    def __init__(self) -> None:
        self.count = 0
        self.statistic = self.threshold = math.nan
        self._reference: list[T] = []
        self._sliding: list[T] = []  # in order; its oldest ones are dropped now and then, not at each observation
        self._ready = False

    def update(self, value: T) -> bool:
        """Take in an observation; return whether the sliding window differs from the reference."""
        self.count += 1
        if not self._ready:
            self._reference.append(value)
            if len(self._reference) >= self.config.reference:
                self._ready = True
                self.threshold = self._learn(self._reference)
            return False
        self._sliding.append(value)
        if len(self._sliding) < self.config.window or self.count % self.config.every:
            return False
        del self._sliding[: -self.config.window]
        self.statistic = self._distance(self._sliding)
        if not self.statistic > self.threshold:
            return False
        self._reference, self._sliding, self._ready = self._sliding, [], False
        return True

    def _learn(self, reference: Sequence[T]) -> float:
        """Prepare for comparisons with a full reference; return the threshold."""
        raise NotImplementedError

    def _distance(self, sliding: Sequence[T]) -> float:
        """Return how far the sliding window is from the reference."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return both windows."""
        return {
            "count": self.count, "ready": self._ready, "statistic": self.statistic, "threshold": self.threshold,
            "reference": self._pack(self._reference), "sliding": self._pack(self._sliding),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over both windows."""
        self.count, self._ready = int(state["count"]), bool(state["ready"])
        self._reference, self._sliding = self._unpack(state["reference"]), self._unpack(state["sliding"])
        if self._ready:
            self._learn(self._reference)
        self.statistic, self.threshold = float(state["statistic"]), float(state["threshold"])

    def _pack(self, values: Sequence[T]) -> Any:  # noqa: ANN401 - a tensor or JSON values
        return list(values)

    def _unpack(self, values: Any) -> list[T]:  # noqa: ANN401 - what _pack returned
        return list(values)


def gamma_tail(mean: float, variance: float, alpha: float) -> float:
    """Return the value that a gamma variable of this mean and variance exceeds with probability `alpha`.

    Gretton et al., "A fast, consistent kernel two-sample test", NIPS 2009, match the null distribution of the maximum
    mean discrepancy so. By Wilson and Hilferty's cube root, 1931, which needs only the normal quantile.
    """
    if variance <= 0:
        return mean
    shape, scale = mean**2 / variance, variance / mean
    spread = 1 / (9 * shape)
    return float(shape * scale * (1 - spread + _normal_quantile(1 - alpha) * math.sqrt(spread)) ** 3)


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist  # noqa: PLC0415 - needed once a reference

    return NormalDist().inv_cdf(p)
