"""Which stored samples are rehearsed."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from streamlearn.core.batch import IntArray
from streamlearn.core.registry import Config as BaseConfig
from streamlearn.core.registry import Nothing
from streamlearn.learning.memory.columns import Columns


class Retrieval(ABC):
    """The base of all retrievals."""

    Config: ClassVar[type[BaseConfig]] = Nothing

    def __init__(self, config: Any = None) -> None:  # noqa: ANN401 - each retrieval's own Config
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def slots(self, size: int, memory: Columns, labels: IntArray, rng: np.random.Generator) -> IntArray:
        """Return at most `size` different slots to rehearse beside new samples of the classes `labels`, shape (n,).

        Some where the memory has some and `size` is not 0.
        """


class Uniform(Retrieval):
    """Every stored sample is equally likely."""

    def slots(self, size: int, memory: Columns, labels: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw min(size, len) slots without replacement."""
        del labels
        return np.asarray(rng.choice(len(memory), min(size, len(memory)), replace=False))


class ClassBalanced(Retrieval):
    """Every stored class is equally likely, however many samples it has: classes are drawn evenly, then samples."""

    def slots(self, size: int, memory: Columns, labels: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw min(size, len) slots; a class that has fewer samples than its share gives them all."""
        del labels
        return evenly(size, memory, memory.class_sizes, rng)


class ClassBalancedOthers(Retrieval):
    """As class-balanced, without the classes of the new batch, which is rehearsal enough for them. Where nothing else
    is stored: class-balanced."""

    def slots(self, size: int, memory: Columns, labels: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw at most as many slots as the other classes have."""
        others = memory.class_sizes.copy()
        others[labels[labels < len(others)]] = 0
        return evenly(size, memory, others if others.any() else memory.class_sizes, rng)


def evenly(size: int, memory: Columns, available: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw slots so that the classes' numbers differ by at most one, but for classes that have not so many.

    Args:
        size: how many; fewer where fewer are available.
        memory: where they are.
        available: samples to draw from, by label: all of a class, or none.
        rng: draws the classes that get one more, and the samples.
    """
    left = min(size, int(available.sum()))
    shares = np.zeros_like(available)
    while left:
        open_classes = np.flatnonzero(shares < available)
        if left < len(open_classes):
            shares[rng.choice(open_classes, left, replace=False)] += 1
            break
        more = np.minimum(left // len(open_classes), (available - shares)[open_classes])
        shares[open_classes] += more
        left -= int(more.sum())
    drawn: list[int] = []
    for label in np.flatnonzero(shares).tolist():
        slots = memory.slots_of(label)
        drawn += [slots[place] for place in rng.choice(len(slots), int(shares[label]), replace=False).tolist()]
    return np.array(drawn, np.int64)
