"""Two classics that need a few numbers of memory: Page-Hinkley and DDM."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from streamlearn.drift.base import Kind, detectors
from streamlearn.registry import Config as BaseConfig


@detectors.register("page-hinkley")
class PageHinkley:
    """Adds up by how much observations exceed their mean; drift is where the sum has risen far above its lowest.

    E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954; in the form of Gama et al., "A survey on concept
    drift adaptation", ACM Computing Surveys 46, 2014.
    """

    takes: ClassVar[Kind] = "number"

    class Config(BaseConfig):
        """What rise matters."""

        grace: int = Field(30, ge=1, description="Observations before the first test.")
        delta: float = Field(0.005, ge=0, description="A rise of the mean up to this does not count.")
        threshold: float = Field(50.0, gt=0, description="Of the sum, in units of the signal.")
        alpha: float = Field(0.9999, gt=0, le=1, description="The sum forgets by this factor at each observation.")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.statistic, self.threshold = math.nan, config.threshold
        self._clear()

    def _clear(self) -> None:
        self.count, self.mean, self._sum, self._lowest = 0, 0.0, 0.0, math.inf

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the mean has risen."""
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self._sum = self.config.alpha * self._sum + value - self.mean - self.config.delta
        self._lowest = min(self._lowest, self._sum)
        if self.count < self.config.grace:
            return False
        self.statistic = self._sum - self._lowest
        if self.statistic <= self.threshold:
            return False
        self._clear()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "count": self.count, "mean": self.mean, "sum": self._sum, "lowest": self._lowest,
            "statistic": self.statistic,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers."""
        self.count, self.mean = int(state["count"]), float(state["mean"])
        self._sum, self._lowest = float(state["sum"]), float(state["lowest"])
        self.statistic = float(state["statistic"])


@detectors.register("ddm")
class DDM:
    """Knows the best error rate so far; drift is where the error rate lies three standard deviations above it.

    Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004. For errors (0 or 1) only.
    """

    takes: ClassVar[Kind] = "number"

    class Config(BaseConfig):
        """How far above the best."""

        grace: int = Field(30, ge=1, description="Observations before the first test.")
        deviations: float = Field(3.0, gt=0, description="Standard deviations above the lowest error rate.")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.statistic = self.threshold = math.nan
        self._clear()

    def _clear(self) -> None:
        self.count, self.rate, self._lowest = 0, 0.0, (math.inf, math.inf)

    def update(self, value: float) -> bool:
        """Take in an error (1) or a right prediction (0); return whether the error rate has risen."""
        self.count += 1
        self.rate += (value - self.rate) / self.count
        if self.count < self.config.grace:
            return False
        deviation = math.sqrt(self.rate * (1 - self.rate) / self.count)
        if self.rate + deviation <= sum(self._lowest):
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
            "count": self.count, "rate": self.rate, "lowest": list(self._lowest), "statistic": self.statistic,
            "threshold": self.threshold,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the numbers."""
        self.count, self.rate = int(state["count"]), float(state["rate"])
        self._lowest = float(state["lowest"][0]), float(state["lowest"][1])
        self.statistic, self.threshold = float(state["statistic"]), float(state["threshold"])
