"""Plain fine-tuning: the lower anchor. It learns what comes and forgets what does not."""

from typing import ClassVar

import torch

from streamlearn.core.batch import Batch
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.strategies.base import Rehearsing, Strategy


class Finetune(Strategy):
    """Cross-entropy on the new batch alone."""

    rehearses: ClassVar[bool] = False

    def loss(self, learner: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the loss of the new batch."""
        del memory
        return {"new": learner.task.loss(learner.forward(batch), learner.labels(batch))}
