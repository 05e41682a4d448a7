"""DDM: Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from streamlearn.evaluation.drift.base import restored, saved
from streamlearn.evaluation.drift.family import DDMConfig, Kind


class DDM:
    """Knows the best error rate so far; drift is where the error rate lies three standard deviations above it.

    The error rate is that of all observations since the last alarm, after which it begins anew. It tests at every
    observation against the luckiest moment so far, so it calls drift often where there is none; and a stream that began
    without any error is called drifting at its first one.
    """

    takes: ClassVar[Kind] = "error"

    Config = DDMConfig

    def __init__(self, config: DDMConfig) -> None:
        self.config = config
        self.statistic = self.threshold = math.nan
        self._clear()

    def _clear(self) -> None:
        self.count, self.rate = 0, 0.0
        self._lowest: tuple[float, float] | None = None  # the rate and its deviation where their sum was lowest

    def update(self, value: float) -> bool:
        """Take in an error (1) or a right prediction (0); return whether the error rate has risen."""
        self.count += 1
        self.rate += (value - self.rate) / self.count
        if self.count <= self.config.grace:
            self.statistic = math.nan  # what was read at the last alarm is over
            return False
        deviation = math.sqrt(max(0.0, self.rate * (1 - self.rate)) / self.count)
        if self._lowest is None or self.rate + deviation <= self._lowest[0] + self._lowest[1]:
            self._lowest = self.rate, deviation
        rate, lowest = self._lowest
        self.statistic, self.threshold = self.rate + deviation, rate + self.config.deviations * lowest
        if self.statistic <= self.threshold:
            return False
        self._clear()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "count": self.count, "rate": self.rate, "lowest": list(self._lowest) if self._lowest else None,
            "statistic": saved(self.statistic), "threshold": saved(self.threshold),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers."""
        self.count, self.rate = int(state["count"]), float(state["rate"])
        lowest = state["lowest"]
        self._lowest = None if lowest is None else (float(lowest[0]), float(lowest[1]))
        self.statistic, self.threshold = restored(state["statistic"]), restored(state["threshold"])
