"""Which stored sample gives way to a new one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from streamlearn.core.registry import Config as BaseConfig
from streamlearn.core.registry import Nothing
from streamlearn.learning.memory.columns import Columns


class Policy(ABC):
    """The base of all policies: decides for a full memory. While there is room, every sample is stored.

    A policy keeps nothing to itself: what it decides is a function of the memory's columns and of the stream.
    """

    watches_losses: ClassVar[bool] = False  # the learner tells the memory the losses of stored samples

    Config: ClassVar[type[BaseConfig]] = Nothing

    def __init__(self, config: Any = None) -> None:  # noqa: ANN401 - each policy's own Config
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def slot(self, label: int, memory: Columns, rng: np.random.Generator) -> int | None:
        """Return the slot to overwrite with a sample of class `label`, or None to let the sample go.

        Called after the sample was counted in `memory.seen` and `memory.seen_by_label`.
        """


class Reservoir(Policy):
    """Every sample of the stream is equally likely to be in the memory (Vitter, "Random sampling with a reservoir",
    ACM TOMS 1985, algorithm R): the n-th is stored with probability capacity / n."""

    def slot(self, label: int, memory: Columns, rng: np.random.Generator) -> int | None:
        """Draw a number below the count of samples seen: it is a slot, or the sample goes."""
        del label
        slot = int(rng.integers(memory.seen))
        return slot if slot < memory.capacity else None


class ClassBalanced(Policy):
    """Classes share the memory as evenly as the stream allows (Chrysakis and Moens, "Online continual learning from
    imbalanced data", ICML 2020, algorithm 1): a sample of a smaller class takes the place of one of the largest class;
    within the largest classes it is a reservoir."""

    def slot(self, label: int, memory: Columns, rng: np.random.Generator) -> int | None:
        """Overwrite a random sample of a largest class, or play the class's own reservoir."""
        largest = memory.largest_label()
        mine: Sequence[int] = memory.slots_of(label)
        if len(mine) < len(memory.slots_of(largest)):
            slots = memory.slots_of(largest)
            return slots[int(rng.integers(len(slots)))]
        at = int(rng.integers(memory.seen_by_label[label]))
        return mine[at] if at < len(mine) else None
