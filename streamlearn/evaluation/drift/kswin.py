"""KSWIN: Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing
416, 2020."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator

from streamlearn.core import rng
from streamlearn.core.registry import Config as BaseConfig
from streamlearn.evaluation.drift.base import Kind, detectors, restored, saved
from streamlearn.evaluation.drift.ks import gaps


@detectors.register("kswin")
class KSWIN:
    """Compares the newest part of a window with a random draw from the rest of it, at each observation.

    Drift is where the Kolmogorov-Smirnov distance is above sqrt(-ln(alpha) / newest); the newest part is kept then. The
    draw of an observation is a function of the seed and of how many observations there were, so there is no generator
    to save. River draws other numbers and compares an exact p-value, so its alarms are near ours and not the same. With
    a test at each observation the paper's level of 0.005 calls drift all the time; `ks` is the calm form.
    """

    takes: ClassVar[Kind] = "number"

    class Config(BaseConfig):
        """The window and the level."""

        alpha: float = Field(1e-6, gt=0, lt=1, description="Level of each test.")
        window: int = Field(200, ge=4, le=100_000, description="Observations that are kept.")
        newest: int = Field(60, ge=2, le=50_000, description="So many of them, the newest, are tested.")
        seed: int = Field(0, ge=0, lt=2**63, description="Of the draws.")

        @model_validator(mode="after")
        def _leaves_enough(self) -> "KSWIN.Config":
            if 2 * self.newest > self.window:
                raise ValueError("newest must be at most half of window: as many are drawn from the rest")
            return self

    def __init__(self, config: Config) -> None:
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
