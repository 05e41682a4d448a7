"""ER-ACE: Caccia et al., "New insights on reducing abrupt representation change in online continual learning", ICLR
2022 (arXiv 2104.05025)."""

import torch

from streamlearn.core.batch import Batch, concat
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.strategies.base import Rehearsing, Strategy


class ERACE(Strategy):
    """The asymmetric cross-entropy: new samples compete among the classes of their own batch alone, rehearsed ones
    among all. So a new class does not push the old ones' representations away; telling them apart is learned from the
    memory.

    The classes of the batch are the mask, as in the paper's equation. The authors' code lets classes that never came
    compete too, by their numbers, which takes the classes to come in their order; here a head has rows only for classes
    that came, that are listed, or that a fine-tuned checkpoint knows, and the last are worth keeping. Nothing depends
    on the order of arrival: where classes come mixed, a batch with samples of all classes is learned as by plain
    replay, and one with some of them leaves the others to the rehearsed samples. A batch of a single class has a new
    loss of 0, and is learned once it is rehearsed: for a stream sorted by class, rehearse more than is new.
    """

    needs_classes = True

    def loss(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the new samples' loss over their own classes, and the rehearsed ones' over all."""
        replay = step.rehearse(memory, batch)
        joint = concat(batch, replay)
        scores, labels = step.forward(joint), step.labels(joint)
        new = len(batch)
        absent = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
        absent[labels[:new]] = False
        losses = {"new": step.task.loss(scores[:new].masked_fill(absent, -torch.inf), labels[:new])}
        if len(replay):
            losses["rehearsed"] = step.task.loss(scores[new:], labels[new:])
        return losses
