"""Kolmogorov-Smirnov on numbers: against a fixed reference (KS), and within one sliding window (KSWIN)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from streamlearn import rng
from streamlearn.drift.base import Kind, detectors
from streamlearn.drift.windows import Windows, WindowsConfig
from streamlearn.registry import Config as BaseConfig


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest gap between two empirical distribution functions; `first` must be sorted."""
    a, b = np.asarray(first), np.sort(second)
    both = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max())


def critical(alpha: float, n: int, m: int) -> float:
    """Return the gap that samples of n and m from one distribution exceed with probability `alpha` (large samples)."""
    return math.sqrt(-math.log(alpha / 2) / 2 * (n + m) / (n * m))


@detectors.register("ks")
class KS(Windows[float]):
    """The two-sample Kolmogorov-Smirnov test between a reference window and a sliding one.

    Smirnov, "Table for estimating the goodness of fit of empirical distributions", 1948. Ties make it careful.
    """

    takes: ClassVar[Kind] = "number"

    class Config(WindowsConfig):
        """The two windows."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._sorted: Sequence[float] = ()

    def _learn(self, reference: Sequence[float]) -> float:
        self._sorted = np.sort(reference)  # type: ignore[assignment]
        return critical(self.config.alpha, len(reference), self.config.window)

    def _distance(self, sliding: Sequence[float]) -> float:
        return distance(self._sorted, sliding)

    def _pack(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(list(values), dtype=torch.float64)

    def _unpack(self, values: torch.Tensor) -> list[float]:
        return list(values.tolist())


@detectors.register("kswin")
class KSWIN:
    """Compares the newest part of a window with a draw from the rest of it.

    Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416,
    2020. It tests at each observation, so at its paper's level it calls drift often where there is none: `ks` is the
    calm form.
    """

    takes: ClassVar[Kind] = "number"

    class Config(BaseConfig):
        """The window and the level."""

        alpha: float = Field(0.0001, gt=0, lt=1, description="Level of each test.")
        window: int = Field(200, ge=4, le=100_000, description="Observations that are kept.")
        newest: int = Field(60, ge=2, le=50_000, description="So many of them, the newest, are tested.")
        seed: int = Field(0, ge=0, lt=2**63, description="Of the draws.")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.count = 0
        self.statistic, self.threshold = math.nan, critical(config.alpha, config.newest, config.newest)
        self._values: list[float] = []

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the newest ones are distributed otherwise."""
        self.count += 1
        self._values.append(float(value))
        size, newest = self.config.window, self.config.newest
        if len(self._values) < size:
            return False
        del self._values[:-size]
        drawn = rng.stream(self.config.seed, "kswin", self.count).choice(size - newest, newest, replace=False)
        older = np.asarray(self._values)[drawn]
        self.statistic = distance(np.sort(older), self._values[-newest:])  # type: ignore[arg-type]
        if self.statistic <= self.threshold:
            return False
        self._values = self._values[-newest:]
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the window."""
        return {
            "count": self.count, "statistic": self.statistic,
            "values": torch.tensor(self._values, dtype=torch.float64),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a window."""
        self.count, self.statistic = int(state["count"]), float(state["statistic"])
        self._values = state["values"].tolist()
