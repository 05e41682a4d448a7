"""KSWIN: Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing
416, 2020."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from streamlearn.core import rng
from streamlearn.evaluation.drift.base import restored, saved
from streamlearn.evaluation.drift.family import Kind, KSWINConfig
from streamlearn.evaluation.drift.ks import gaps


class KSWIN:
    """Compares the newest part of a window with a random draw from the rest of it, at each observation.

    Drift is where the Kolmogorov-Smirnov distance is above sqrt(-ln(alpha) / newest); the newest part is kept then. The
    draw of an observation is a function of the seed and of how many observations there were, so there is no generator
    to save. River draws other numbers and compares an exact p-value, so its alarms are near ours and not the same. With
    a test at each observation the paper's level of 0.005 calls drift all the time; `ks` is the calm form.
    """

    takes: ClassVar[Kind] = "number"

    Config = KSWINConfig

    def __init__(self, config: KSWINConfig) -> None:
        self.config = config
        self.count = 0
        self.statistic, self.threshold = math.nan, math.sqrt(-math.log(config.alpha) / config.newest)
        self._values: list[float] = []

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the newest ones are distributed otherwise."""
        self.count += 1
        self._values.append(float(value))
        size, newest = self.config.window, self.config.newest
        if len(self._values) < size:
            self.statistic = math.nan  # what was read at the last alarm is over
            return False
        del self._values[:-size]
        values = np.asarray(self._values)
        drawn = rng.stream(self.config.seed, "kswin", self.count).choice(size - newest, newest, replace=False)
        self.statistic = float(np.abs(gaps(np.sort(values[drawn]), np.sort(values[-newest:]))).max())
        if self.statistic <= self.threshold:
            return False
        self._values = self._values[-newest:]
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the window."""
        return {
            "count": self.count, "statistic": saved(self.statistic),
            "values": torch.tensor(self._values, dtype=torch.float64),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a window."""
        self.count, self.statistic = int(state["count"]), restored(state["statistic"])
        self._values = [float(value) for value in state["values"].tolist()]
