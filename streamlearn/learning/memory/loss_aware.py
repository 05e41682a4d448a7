"""Loss-aware balanced reservoir sampling: what is known well, or often, gives way first."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streamlearn.learning.memory.columns import Columns
from streamlearn.learning.memory.policy import Policy


class LossAware(Policy):
    """A reservoir decides whether a sample is stored, and loss and class decide what gives way (Buzzega et al.,
    "Rethinking experience replay: a bag of tricks for continual learning", ICPR 2020, arXiv 2010.05595, loss-aware
    balanced reservoir sampling): the likelier, the lower a stored sample's loss was when it was last rehearsed, and the
    larger its class is. Both weigh the same. The loss counts by its distance from the largest one, so that weights are
    never negative; a sample without a loss yet has the mean one. One vectorised pass over the memory for each sample
    that is stored.
    """

    watches_losses: ClassVar[bool] = True

    def slot(self, label: int, memory: Columns, rng: np.random.Generator) -> int | None:
        """Store with probability capacity / seen; draw what gives way by the two weights."""
        del label
        if rng.integers(memory.seen) >= memory.capacity:
            return None
        weights = _shares(memory.class_sizes[memory.labels].astype(np.float64)) + _shares(_gaps(memory.losses))
        ends = weights.cumsum()
        return min(int(np.searchsorted(ends, rng.random() * ends[-1], side="right")), len(ends) - 1)


def _gaps(losses: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return how far each loss is below the largest."""
    known = losses >= 0
    filled = losses.astype(np.float64)
    filled[~known] = filled[known].mean() if known.any() else 0.0
    return np.asarray(filled.max() - filled)


def _shares(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1 / len(values))
