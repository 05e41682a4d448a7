"""Page-Hinkley: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from streamlearn.evaluation.drift.base import restored, saved
from streamlearn.evaluation.drift.family import Kind, PageHinkleyConfig


class PageHinkley:
    """Adds up by how much observations exceed their mean; drift is where the sum has risen far above its lowest.

    In the form of Gama et al., "A survey on concept drift adaptation", ACM Computing Surveys 46, 2014. After an alarm
    it begins anew. The threshold decides how rare false alarms are, in units of the signal: with `standardized`, which
    is the default, the unit is the signal's own standard deviation, so that one threshold fits every signal. A sum that
    forgets swings about an equilibrium instead of falling, with a standard deviation of 1 / sqrt(2 - 2 alpha): 71 where
    alpha is 0.9999, which is more than the usual thresholds, so it calls drift where there is none.
    """

    takes: ClassVar[Kind] = "number"

    Config = PageHinkleyConfig

    def __init__(self, config: PageHinkleyConfig) -> None:
        self.config = config
        self.statistic, self.threshold = math.nan, config.threshold
        self._clear()

    def _clear(self) -> None:
        self.count, self.mean, self._deviation = 0, 0.0, 0.0
        self._up = self._lowest = self._down = self._highest = 0.0

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the mean has changed."""
        alpha, delta = self.config.alpha, self.config.delta
        self.count += 1
        before = self.mean
        self.mean += (value - before) / self.count
        self._deviation += (value - before) * (value - self.mean)
        excess = value - self.mean
        if self.config.standardized:
            spread = math.sqrt(self._deviation / self.count)
            excess = excess / spread if spread > 0 else 0.0
        self._up = alpha * self._up + excess - delta
        self._down = alpha * self._down + excess + delta
        self._lowest = self._up if self.count == 1 else min(self._lowest, self._up)
        self._highest = self._down if self.count == 1 else max(self._highest, self._down)
        if self.count < self.config.grace:
            self.statistic = math.nan  # what was read at the last alarm is over
            return False
        rise, fall = self._up - self._lowest, self._highest - self._down
        self.statistic = {"up": rise, "down": fall, "both": max(rise, fall)}[self.config.direction]
        if self.statistic <= self.threshold:
            return False
        self._clear()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "count": self.count, "mean": self.mean, "deviation": self._deviation, "statistic": saved(self.statistic),
            "up": self._up, "lowest": self._lowest, "down": self._down, "highest": self._highest,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers."""
        self.count, self.mean, self._deviation = int(state["count"]), float(state["mean"]), float(state["deviation"])
        self._up, self._lowest = float(state["up"]), float(state["lowest"])
        self._down, self._highest = float(state["down"]), float(state["highest"])
        self.statistic = restored(state["statistic"])
