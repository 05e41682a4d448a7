"""A ring buffer for each class: the newest samples of each stay."""

import numpy as np

from streamlearn.learning.memory.columns import Columns
from streamlearn.learning.memory.policy import Policy


class Ring(Policy):
    """Each class keeps its newest samples, first in, first out (the ring buffer of Chaudhry et al., "On tiny episodic
    memories in continual learning", 2019, arXiv 1902.10486). The classes are not known beforehand, so the share of each
    is the capacity over the classes seen so far: a class below its share takes the oldest sample of the largest ones.
    Every sample that comes is stored. One vectorised pass over the memory for each.
    """

    def slot(self, label: int, memory: Columns, rng: np.random.Generator) -> int | None:
        """Overwrite the class's oldest sample, or the oldest of the largest classes while it is below its share."""
        del rng
        counts = memory.class_sizes
        share = max(1, memory.capacity // len(memory.seen_by_label))
        mine = int(counts[label]) if label < len(counts) else 0
        full = memory.labels == label if mine >= share else counts[memory.labels] == counts.max()
        slots = np.flatnonzero(full)
        return int(slots[memory.order[slots].argmin()])
