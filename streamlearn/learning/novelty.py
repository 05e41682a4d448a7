"""How novel an event is, and how few events of known classes are as novel.

A strategy gives each event a novelty score, on a scale of its own. What a score means is learned from labelled samples
of known classes: from the scores that they had just before they were learned.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import IntArray

ENOUGH = 100  # samples before which there is no novelty
WINDOW = 1000  # the latest samples, which stand for known classes


def energy(scores: torch.Tensor) -> torch.Tensor:
    """Return the energy of class scores before softmax, (n, classes) -> (n,): the higher, the more novel.

    Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020 (arXiv 2010.03759), at temperature 1.
    """
    return -scores.float().logsumexp(1)


class ConformalNovelty:
    """The novelty scores that samples of known classes had just before they were learned.

    A conformal test for outliers: Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005; Bates et
    al., "Testing for outliers with conformal p-values", Annals of Statistics 51, 2023 (arXiv 2104.08279). Of n
    samples, k have at least an event's score: its p-value is (k + 1) / (n + 1), and its novelty is the rest to 1. As
    long as events of known classes are like the latest labelled ones, at most a share a of them has a p-value of a
    or less, whatever the scale and its distribution. So no threshold is tuned.

    It holds what was learned, in the order in which that was learned, and depends on nothing else.
    """

    def __init__(self) -> None:
        self.window: deque[float] = deque(maxlen=WINDOW)
        self.counts = np.zeros(0, np.int64)  # labels learned so far, by class
        self._sorted: npt.NDArray[np.float64] | None = None

    def novelty(self, novelty_scores: torch.Tensor) -> npt.NDArray[np.float64] | None:
        """Return the novelty of events, from 0 to 1, of the shape (n,) of their novelty scores; None before enough
        is known. What is no number reads 1."""
        if len(self.window) < ENOUGH:
            return None
        if self._sorted is None:  # asked for with every prediction, and changed by what is learned alone
            self._sorted = np.sort(self.window)
        found = np.searchsorted(self._sorted, novelty_scores.double().cpu().numpy(), side="left")  # nan sorts last
        return found / (len(self._sorted) + 1)

    def learn(self, novelty_scores: torch.Tensor | None, labels: IntArray) -> None:
        """Take in a batch that was learned.

        Args:
            novelty_scores: of its samples, just before, (n,); None where nobody looked. What is not finite is left out.
            labels: their classes' numbers, (n,).
        """
        missing = int(labels.max(initial=-1)) + 1 - len(self.counts)
        if missing > 0:
            self.counts = np.pad(self.counts, (0, missing))
        if novelty_scores is not None:
            values = novelty_scores.double().cpu().numpy()
            told = values[(self.counts[labels] > 0) & np.isfinite(values)]
            self.window.extend(told.tolist())
            self._sorted = None
        np.add.at(self.counts, labels, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the window, oldest first, and the counts."""
        return {"window": torch.tensor(list(self.window), dtype=torch.float64), "counts": torch.tensor(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's window and counts."""
        self.window.clear()
        self.window.extend(state["window"].tolist())
        self.counts, self._sorted = state["counts"].numpy().copy(), None
