"""DER++: Buzzega et al., "Dark experience for general continual learning: a strong, simple baseline", NeurIPS 2020
(arXiv 2004.07211)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from streamlearn.core.batch import Batch, concat
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.strategies.base import Rehearsing, Strategy
from streamlearn.learning.strategies.family import DERppConfig


class DERpp(Strategy):
    """The scores that the model gave a sample when it was new are stored with it. Of two rehearsals, one is drawn
    towards its stored scores, the other is learned by its labels.

    A class that was not known then counts as a score of 0, which is what a new row of the head gives. So the distance
    is a mean over all classes, and keeps new ones from answering for old samples.
    """

    Config = DERppConfig

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - see Strategy
        super().__init__(config)
        self._scores: torch.Tensor | None = None

    def loss(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the new samples' loss, the distance of one draw, and the loss of another."""
        dark, bright = step.rehearse(memory, batch, 0), step.rehearse(memory, batch, 1)
        joint = concat(concat(batch, dark), bright)
        scores, labels = step.forward(joint), step.labels(joint)
        new, end = len(batch), len(batch) + len(dark)
        self._scores = scores[:new].detach()
        losses = {"new": step.task.loss(scores[:new], labels[:new])}
        if dark.outputs is not None:
            losses["dark"] = self.config.alpha * distance(scores[new:end, : memory.max_outputs], dark.outputs)
        if len(bright):
            losses["rehearsed"] = self.config.beta * step.task.loss(scores[end:], labels[end:])
        return losses

    def stored(self) -> npt.NDArray[np.float32] | None:
        """Return the scores that the last `loss` had for the new samples, before its step."""
        return None if self._scores is None else self._scores.cpu().numpy()


def distance(scores: torch.Tensor, outputs: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return the mean squared distance of scores (n, classes) to outputs (n, width): 0 where those are nan, or end."""
    stored = torch.from_numpy(outputs[:, : scores.shape[1]]).to(scores.device).nan_to_num(0.0)
    target = functional.pad(stored, (0, scores.shape[1] - stored.shape[1]))
    return (scores - target).square().sum() / max(1, target.numel())
