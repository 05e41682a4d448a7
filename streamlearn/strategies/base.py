"""The protocol of a strategy."""

from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from streamlearn.batch import Batch
from streamlearn.registry import Registry

if TYPE_CHECKING:
    from streamlearn.memory import ReplayMemory
    from streamlearn.tasks import Task


class Rehearsing(Protocol):
    """What a strategy may ask of the learner."""

    task: "Task"

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the model's scores for the batch, with gradients: (n, classes)."""
        ...

    def labels(self, batch: Batch) -> torch.Tensor:
        """Return the batch's labels on the model's device: (n,)."""
        ...

    def rehearse(self, memory: "ReplayMemory") -> Batch:
        """Draw this step's share of stored samples; an empty batch while the memory is empty."""
        ...


class Strategy(Protocol):
    """Turns a batch into losses. `rehearses` says whether it wants what it learned to be stored."""

    rehearses: ClassVar[bool]

    def loss(self, learner: Rehearsing, batch: Batch, memory: "ReplayMemory") -> dict[str, torch.Tensor]:
        """Return named scalar losses; the learner minimises their sum."""
        ...


strategies: Registry[Strategy] = Registry("strategy")
