"""Kernel MMD on vectors: do the embeddings of late come from where those of the reference came from?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from streamlearn import rng
from streamlearn.drift.base import Kind, detectors
from streamlearn.drift.windows import Windows, WindowsConfig, gamma_tail

DRAWS = 200
PAIRS = 2_000  # for the median of the distances


@detectors.register("mmd")
class MMD(Windows[torch.Tensor]):
    """The maximum mean discrepancy between a reference window and a sliding one, under a Gaussian kernel.

    Gretton et al., "A kernel two-sample test", JMLR 13, 2012, with random Fourier features (Rahimi and Recht, NIPS
    2007), so that a window is the mean of its features, and the discrepancy the squared distance of two means. The
    kernel's width is the median distance within the reference. The threshold resamples the reference, as a permutation
    test does, and takes the tail of the gamma distribution that matches (Gretton et al., NIPS 2009): a permutation
    alone cannot tell one in a million.
    """

    takes: ClassVar[Kind] = "vector"

    class Config(WindowsConfig):
        """The two windows, and the features."""

        features: int = Field(256, ge=8, le=16_384, multiple_of=2, description="Random Fourier features.")
        seed: int = Field(0, ge=0, lt=2**63, description="Of the features.")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._weights = torch.empty(0)
        self._mean = torch.empty(0)

    def _learn(self, reference: Sequence[torch.Tensor]) -> float:
        rows = torch.stack(list(reference)).double()
        generator = rng.stream(self.config.seed, "mmd", self.count)
        pairs = torch.from_numpy(generator.integers(0, len(rows), (2, PAIRS)))
        width = float((rows[pairs[0]] - rows[pairs[1]]).norm(dim=1).clamp_min(1e-12).median())
        normal = rng.stream(self.config.seed, "mmd-features", 0).standard_normal(
            (rows.shape[1], self.config.features // 2)
        )
        self._weights = torch.from_numpy(normal) / width
        features = self._features(rows)
        self._mean = features.mean(0)
        sizes = len(rows), self.config.window
        drawn = []
        for _ in range(DRAWS):
            first, second = (features[torch.from_numpy(generator.integers(0, len(rows), n))].mean(0) for n in sizes)
            drawn.append(float((first - second).square().sum()))
        return gamma_tail(float(np.mean(drawn)), float(np.var(drawn)), self.config.alpha)

    def _distance(self, sliding: Sequence[torch.Tensor]) -> float:
        mean = self._features(torch.stack(list(sliding)).double()).mean(0)
        return float((mean - self._mean).square().sum())

    def _features(self, rows: torch.Tensor) -> torch.Tensor:
        projected = rows @ self._weights
        features: torch.Tensor = torch.cat([projected.cos(), projected.sin()], 1)
        return features / math.sqrt(self.config.features // 2)

    def state_dict(self) -> dict[str, Any]:
        """Return both windows, and what was made of the reference."""
        return {**super().state_dict(), "weights": self._weights, "mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over both windows."""
        super().load_state_dict({**state, "ready": False})
        self._ready = bool(state["ready"])
        self._weights, self._mean = state["weights"], state["mean"]

    def _pack(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(values)) if values else torch.empty(0, 0)

    def _unpack(self, values: torch.Tensor) -> list[torch.Tensor]:
        return list(values)
