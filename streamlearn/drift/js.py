"""Jensen-Shannon on labels: has the mix of what is predicted changed?"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from streamlearn import rng
from streamlearn.drift.base import Kind, detectors
from streamlearn.drift.windows import Floats, Windows, WindowsConfig, gamma_tail

DRAWS = 200


def divergence(p: Floats, q: Floats) -> float:
    """Return the Jensen-Shannon divergence of two distributions over the same categories: 0 to 1 (bits)."""
    middle = (p + q) / 2
    return float(sum(np.sum(each[each > 0] * np.log2(each[each > 0] / middle[each > 0])) for each in (p, q)) / 2)


@detectors.register("js")
class JS(Windows[str]):
    """The Jensen-Shannon divergence between the labels of a reference window and of a sliding one.

    Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 1991. The
    threshold is the tail of what two samples of one mix give: the mix of the reference, drawn from again and again.
    """

    takes: ClassVar[Kind] = "label"

    class Config(WindowsConfig):
        """The two windows."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._counts: Counter[str] = Counter()

    def _learn(self, reference: Sequence[str]) -> float:
        self._counts = Counter(reference)
        shares = np.array([count for _, count in sorted(self._counts.items())], np.float64) / len(reference)
        generator = rng.stream(0, "js", self.count)
        first = generator.multinomial(len(reference), shares, DRAWS) / len(reference)
        second = generator.multinomial(self.config.window, shares, DRAWS) / self.config.window
        drawn = [divergence(p, q) for p, q in zip(first, second, strict=True)]
        # A label that is rare enough not to be in the reference at all may still come: one of the window's, at most.
        unseen = divergence(np.array([1.0, 0.0]), np.array([1 - 1 / self.config.window, 1 / self.config.window]))
        return gamma_tail(float(np.mean(drawn)), float(np.var(drawn)), self.config.alpha) + unseen

    def _distance(self, sliding: Sequence[str]) -> float:
        counts = Counter(sliding)
        labels = sorted({*counts, *self._counts})
        p = np.array([self._counts[label] for label in labels], np.float64)
        q = np.array([counts[label] for label in labels], np.float64)
        return divergence(p / p.sum(), q / q.sum())
