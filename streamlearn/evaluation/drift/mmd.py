"""Kernel MMD: Gretton et al., "A kernel two-sample test", JMLR 13, 2012."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from streamlearn.core import rng
from streamlearn.evaluation.drift.family import Kind, MMDConfig
from streamlearn.evaluation.drift.windows import Windows, gamma_quantile

PAIRS = 2_000  # for the median of the distances
ROUNDING = 1e-9  # of the statistic, whose range is 0 to 4: vectors that are all the same differ by less


class MMD(Windows[torch.Tensor]):
    """Drift is where the vectors of a reference window and of a sliding one differ under a Gaussian kernel.

    Random Fourier features (Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007) make the
    squared discrepancy the squared distance of two means. The kernel's width is the median distance within the
    reference.

    If nothing has changed, the statistic is a sum of independent chi-squares, weighted by the spectrum of the features'
    covariance (Gretton et al., "A fast, consistent kernel two-sample test", NIPS 2009). The threshold is the tail of
    the gamma distribution with that sum's first three cumulants (Buckley and Eagleson, "An approximation to the
    distribution of quadratic forms in normal random variables", 1988): to show such a tail, permutations would have to
    be millions.

    Vectors are taken as float32, on the device where they are.
    """

    takes: ClassVar[Kind] = "vector"
    power: ClassVar[float] = 1.0

    Config = MMDConfig

    def __init__(self, config: MMDConfig) -> None:
        super().__init__()
        self.config: MMDConfig = config
        self._weights = self._mean = torch.empty(0)
        self._tail = math.nan

    def update(self, value: torch.Tensor) -> bool:
        """Take in a vector of shape (d,); return whether the latest ones differ from the reference."""
        # A copy: a row of a batch would keep the whole batch alive.
        return super().update(value.detach().to(torch.float32, copy=True))

    @torch.no_grad()
    def _learn(self, reference: Sequence[torch.Tensor]) -> None:
        rows = torch.stack(list(reference))
        pairs = torch.from_numpy(rng.stream(self.config.seed, "mmd-pairs", 0).integers(0, len(rows), (2, PAIRS)))
        first, second = rows[pairs.to(rows.device)]
        width = float((first - second).norm(dim=1).median()) or 1.0
        normal = rng.stream(self.config.seed, "mmd", 0).standard_normal((rows.shape[1], self.config.features // 2))
        self._weights = torch.from_numpy(normal).to(rows) / width
        features = self._features(rows)
        self._mean = features.mean(0)
        self._tail = _tail((features - self._mean).double(), self.config.alpha)

    @torch.no_grad()
    def _distance(self, values: Sequence[torch.Tensor]) -> float:
        return float((self._features(torch.stack(list(values))).mean(0) - self._mean).double().square().sum())

    def _threshold(self, sliding: Sequence[torch.Tensor]) -> float:
        return max(self._tail * (1 / self.config.reference + 1 / len(sliding)), ROUNDING)

    def _features(self, rows: torch.Tensor) -> torch.Tensor:
        """Return features of shape (n, features), whose inner products are the kernel's values."""
        projected = rows @ self._weights
        return torch.cat([projected.cos(), projected.sin()], 1) * math.sqrt(2 / self.config.features)

    def _pack(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(values)).cpu() if values else torch.empty(0, 0)

    def _unpack(self, values: Any) -> list[torch.Tensor]:  # noqa: ANN401 - the base allows JSON values too
        return [row.clone() for row in values]


def _tail(centred: torch.Tensor, alpha: float) -> float:
    """Return what a weighted sum of chi-squares exceeds with probability `alpha`; the weights are the eigenvalues of
    the covariance of centred rows (n, d)."""
    covariance = centred.T @ centred / (len(centred) - 1)
    squared = covariance @ covariance
    first, second = float(covariance.trace()), float(squared.trace())
    third = float((squared * covariance).sum())
    if second <= 0:  # all vectors are the same
        return 0.0
    scale, degrees = third / second, second**3 / third**2
    return first + scale * (2 * gamma_quantile(degrees / 2, alpha) - degrees)
