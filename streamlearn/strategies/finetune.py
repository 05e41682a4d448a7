"""Plain fine-tuning: the lower anchor. It learns what comes and forgets what does not."""

from typing import ClassVar

import torch

from streamlearn.batch import Batch
from streamlearn.memory import ReplayMemory
from streamlearn.registry import Config as BaseConfig
from streamlearn.strategies.base import Rehearsing, strategies


@strategies.register("finetune")
class Finetune:
    """Cross-entropy on the new batch alone."""

    rehearses: ClassVar[bool] = False

    class Config(BaseConfig):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def loss(self, learner: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the loss of the new batch."""
        del memory
        return {"new": learner.task.loss(learner.forward(batch), learner.labels(batch))}
