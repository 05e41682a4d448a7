"""Experience replay: Chaudhry et al., "On tiny episodic memories in continual learning", 2019 (arXiv 1902.10486)."""

import torch

from streamlearn.core.batch import Batch, concat
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.strategies.base import Rehearsing, Strategy


class ER(Strategy):
    """Each new batch is learned together with a batch drawn from the memory: one forward pass, one mean loss."""

    def loss(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the mean loss over the new samples and the rehearsed ones."""
        joint = concat(batch, step.rehearse(memory, batch))
        return {"joint": step.task.loss(step.forward(joint), step.labels(joint))}
