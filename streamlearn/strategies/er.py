"""Experience replay: Chaudhry et al., "On tiny episodic memories in continual learning", 2019 (arXiv 1902.10486)."""

from typing import ClassVar

import torch

from streamlearn.batch import Batch, concat
from streamlearn.memory import ReplayMemory
from streamlearn.registry import Config as BaseConfig
from streamlearn.strategies.base import Rehearsing, strategies


@strategies.register("er")
class ER:
    """Each new batch is learned together with a batch drawn from the memory: one forward pass, one mean loss."""

    rehearses: ClassVar[bool] = True

    class Config(BaseConfig):
        """Nothing to set: `learner.replay_size` is how many samples are rehearsed."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def loss(self, learner: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the mean loss over the new samples and the rehearsed ones."""
        joint = concat(batch, learner.rehearse(memory))
        return {"joint": learner.task.loss(learner.forward(joint), learner.labels(joint))}
