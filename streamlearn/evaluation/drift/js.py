"""Jensen-Shannon on labels: Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
Theory 37, 1991."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.evaluation.drift.family import JSConfig, Kind
from streamlearn.evaluation.drift.windows import Windows, gamma_quantile

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def terms(first: Counts, second: Counts, n: int, m: int) -> Floats:
    """Return what each label adds to the Jensen-Shannon divergence (bits) of counts out of n and of m."""
    p, q = first / n, second / m
    middle = (p + q) / 2
    parts = [each * np.log2(np.divide(each, middle, where=each > 0, out=np.ones_like(each))) for each in (p, q)]
    return np.asarray((parts[0] + parts[1]) / 2, np.float64)


class Moments(NamedTuple):
    """Of what one label adds, under permutation: its mean, its variance, and its covariance with the label's count in
    the sliding window, whose variance is `spread`."""

    mean: float
    variance: float
    covariance: float
    spread: float


@lru_cache(maxsize=4096)
def moments(total: int, n: int, m: int) -> Moments:
    """Return the moments for a label that stands `total` times in both windows together, which hold n and m.

    Dealt out anew, the sliding window gets a hypergeometric number of them. The variances are those of the binomial
    number that it would be if labels were dealt out independently; `JS` then puts in that they are not.
    """
    got = np.arange(max(0, total - n), min(total, m) + 1)
    values = terms(total - got, got, n, m)
    exact = np.array([_log_choose(total, x) + _log_choose(n + m - total, m - x) for x in got.tolist()])
    mean = float(np.exp(exact - _log_choose(n + m, m)) @ values)
    share = m / (n + m)
    free = np.exp(
        [_log_choose(total, x) + x * math.log(share) + (total - x) * math.log1p(-share) for x in got.tolist()]
    )
    free /= free.sum()
    centred, deviation = values - free @ values, got - free @ got
    return Moments(mean, float(free @ centred**2), float(free @ (centred * deviation)), float(free @ deviation**2))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class JS(Windows[str]):
    """Drift is where the labels of a reference window and of a sliding one are of another mix.

    New labels may come at any time. The threshold is that of a permutation test, which deals out the labels of both
    windows anew, without dealing: mean and variance of what that gives are sums over the labels (Morris, "Central limit
    theorems for multinomial sums", Annals of Statistics 3, 1975), and the gamma distribution that matches them has the
    tail that a feasible number of permutations cannot show. Among few labels the variance is put too high: the test is
    rarer to call drift there than `alpha` says.
    """

    takes: ClassVar[Kind] = "label"
    power: ClassVar[float] = 1.0

    Config = JSConfig

    def __init__(self, config: JSConfig) -> None:
        super().__init__()
        self.config: JSConfig = config
        self._counts: Counter[str] = Counter()

    def _learn(self, reference: Sequence[str]) -> None:
        self._counts = Counter(reference)

    def _distance(self, values: Sequence[str]) -> float:
        return float(terms(*self._table(values), self.config.reference, len(values)).sum())

    def _threshold(self, sliding: Sequence[str]) -> float:
        first, second = self._table(sliding)
        n, m = self.config.reference, len(sliding)
        each = np.array([moments(total, n, m) for total in (first + second).tolist()])
        mean, variance, covariance, spread = each.sum(0).tolist()
        if spread > 0:  # the counts add up to the window: what follows from their sum does not vary
            variance -= covariance**2 / spread
        if len(each) == 1 or variance <= 0:  # one label: the windows cannot differ
            return float(mean)
        return float(variance / mean * gamma_quantile(mean**2 / variance, self.config.alpha))

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
