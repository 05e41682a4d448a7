"""Plain fine-tuning: the lower anchor. It learns what comes and forgets what does not."""

from typing import ClassVar

import torch

from streamlearn.core.batch import Batch
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.strategies.base import Rehearsing, Strategy


class Finetune(Strategy):
    """Cross-entropy on the new batch alone."""

    rehearses: ClassVar[bool] = False

    def loss(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the loss of the new batch."""
        del memory
        return {"new": step.task.loss(step.forward(batch), step.labels(batch))}
