"""The two-sample Kolmogorov-Smirnov test: Smirnov, "Table for estimating the goodness of fit of empirical
distributions", Annals of Mathematical Statistics 19, 1948."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.evaluation.drift.family import Kind, KSConfig
from streamlearn.evaluation.drift.windows import Windows

Floats = npt.NDArray[np.float64]


def gaps(first: Floats, second: Floats) -> Floats:
    """Return the gaps of two empirical distribution functions at each of their steps, first less second; both sorted.

    A positive gap: the second sample has larger values there.
    """
    both = np.concatenate([first, second])
    below = [np.searchsorted(each, both, "right") / len(each) for each in (first, second)]
    return np.asarray(below[0] - below[1], np.float64)


class KS(Windows[float]):
    """Drift is where the distribution functions of a reference window and of a sliding one have a gap too large.

    A change in the other direction than `direction` begins a new reference too, but is not called drift.

    The threshold is Smirnov's limit for large samples. Among numbers with ties the test is rarer to call drift than
    `alpha` says, never oftener.
    """

    takes: ClassVar[Kind] = "number"
    power: ClassVar[float] = 0.5

    Config = KSConfig

    def __init__(self, config: KSConfig) -> None:
        super().__init__()
        self.config: KSConfig = config
        self._sorted: Floats = np.zeros(0)

    def _learn(self, reference: Sequence[float]) -> None:
        self._sorted = np.sort(np.asarray(reference, np.float64))

    def _distance(self, values: Sequence[float]) -> float:
        found = gaps(self._sorted, np.sort(np.asarray(values, np.float64)))
        return float({"up": found, "down": -found, "both": np.abs(found)}[self.config.direction].max())

    def _other_distance(self, values: Sequence[float]) -> float:
        found = gaps(self._sorted, np.sort(np.asarray(values, np.float64)))
        return float({"up": -found, "down": found, "both": np.full(1, -math.inf)}[self.config.direction].max())

    def _threshold(self, sliding: Sequence[float]) -> float:
        n, m = len(self._sorted), len(sliding)
        sides = 2 if self.config.direction == "both" else 1
        return math.sqrt(-math.log(self.config.alpha / sides) / 2 * (n + m) / (n * m))

    def _pack(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(list(values), dtype=torch.float64)

    def _unpack(self, values: Any) -> list[float]:  # noqa: ANN401 - the base allows JSON values too
        return [float(value) for value in values.tolist()]
