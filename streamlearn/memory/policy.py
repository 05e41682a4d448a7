"""Which stored sample gives way to a new one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamlearn.registry import Config, Registry

if TYPE_CHECKING:
    from streamlearn.memory.replay import ReplayMemory


class Policy(Protocol):
    """Decides for a full memory. While there is room, every sample is stored."""

    def slot(self, label: int, memory: "ReplayMemory", rng: np.random.Generator) -> int | None:
        """Return the slot to overwrite with a sample of class `label`, or None to let the sample go.

        Called after the sample was counted in `memory.seen` and `memory.seen_by_label`.
        """
        ...


policies: Registry[Policy] = Registry("policy")


@policies.register("reservoir")
class Reservoir:
    """Every sample of the stream is equally likely to be in the memory (Vitter, "Random sampling with a reservoir",
    ACM TOMS 1985, algorithm R): the n-th is stored with probability capacity / n."""

    class Config(Config):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def slot(self, label: int, memory: "ReplayMemory", rng: np.random.Generator) -> int | None:
        """Draw a number below the count of samples seen: it is a slot, or the sample goes."""
        del label
        slot = int(rng.integers(memory.seen))
        return slot if slot < memory.capacity else None


@policies.register("class-balanced")
class ClassBalanced:
    """Classes share the memory as evenly as the stream allows (Chrysakis and Moens, "Online continual learning from
    imbalanced data", ICML 2020, algorithm 1): a sample of a smaller class takes the place of one of the largest class;
    within the largest classes it is a reservoir."""

    class Config(Config):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def slot(self, label: int, memory: "ReplayMemory", rng: np.random.Generator) -> int | None:
        """Overwrite a random sample of a largest class, or play the class's own reservoir."""
        largest = memory.largest_label()
        mine: Sequence[int] = memory.slots_of(label)
        if len(mine) < len(memory.slots_of(largest)):
            slots = memory.slots_of(largest)
            return slots[int(rng.integers(len(slots)))]
        at = int(rng.integers(memory.seen_by_label[label]))
        return mine[at] if at < len(mine) else None
