"""Jensen-Shannon on labels: Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
Theory 37, 1991."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from streamlearn import rng
from streamlearn.drift.base import Kind, detectors
from streamlearn.drift.windows import Windows, WindowsConfig, gamma_quantile

Counts = npt.NDArray[np.int64]
PERMUTATIONS = 200


def divergence(first: Counts, second: Counts) -> npt.NDArray[np.float64]:
    """Return the Jensen-Shannon divergence of counts over the same labels, (..., labels): 0 to 1 (bits)."""
    shares = [each / each.sum(-1, keepdims=True) for each in (first, second)]
    middle = (shares[0] + shares[1]) / 2
    parts = [each * np.log2(np.divide(each, middle, where=each > 0, out=np.ones_like(each))) for each in shares]
    return np.asarray((parts[0] + parts[1]).sum(-1) / 2, np.float64)


@detectors.register("js")
class JS(Windows[str]):
    """Drift is where the labels of a reference window and of a sliding one are of another mix.

    New labels may come at any time. The threshold is that of a permutation test: labels of both windows are dealt out
    anew, and the gamma distribution that matches mean and variance of what that gives has the tail that 200
    permutations alone cannot show.
    """

    takes: ClassVar[Kind] = "label"
    power: ClassVar[float] = 1.0

    class Config(WindowsConfig):
        """The two windows."""

        seed: int = Field(0, ge=0, lt=2**63, description="Of the permutations.")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config: JS.Config = config
        self._counts: Counter[str] = Counter()

    def _learn(self, reference: Sequence[str]) -> None:
        self._counts = Counter(reference)

    def _distance(self, values: Sequence[str]) -> float:
        return float(divergence(*self._table(values)))

    def _threshold(self, sliding: Sequence[str]) -> float:
        first, second = self._table(sliding)
        draws = rng.stream(self.config.seed, "js", self.count)
        dealt = draws.multivariate_hypergeometric(first + second, len(sliding), PERMUTATIONS, method="marginals")
        found = divergence(first + second - dealt, dealt)
        mean, variance = float(found.mean()), float(found.var())
        if variance == 0:  # one label, and no other
            return mean
        return variance / mean * gamma_quantile(mean**2 / variance, self.config.alpha)

    def _table(self, values: Sequence[str]) -> tuple[Counts, Counts]:
        """Return the counts of each label in the reference and in `values`."""
        counts = Counter(values)
        labels = sorted({*counts, *self._counts})
        first, second = (np.array([each[label] for label in labels], np.int64) for each in (self._counts, counts))
        return first, second

    def _pack(self, values: Sequence[str]) -> list[str]:
        return list(values)

    def _unpack(self, values: Any) -> list[str]:  # noqa: ANN401 - the base allows tensors too
        return [str(value) for value in values]
