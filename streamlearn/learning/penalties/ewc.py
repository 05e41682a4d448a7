"""Elastic weight consolidation, online: Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks",
PNAS 2017 (arXiv 1612.00796); Schwarz et al., "Progress & Compress", ICML 2018 (arXiv 1805.06370), section 3."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from streamlearn.core import rng
from streamlearn.core.batch import Batch
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.penalties.base import Penalty, copies, trained
from streamlearn.learning.penalties.family import EWCConfig
from streamlearn.learning.strategies.base import Rehearsing


class EWC(Penalty):
    """Weights are held where they were at the last consolidation, each by how much the model's answers on stored
    samples hang on it: the diagonal of the Fisher information, of which older ones fade by `decay`.

    Rows that the head got since then are free. A consolidation costs a backward pass a sample.
    """

    remembers: ClassVar[bool] = True

    Config = EWCConfig

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - see Penalty
        super().__init__(config)
        self._anchor: dict[str, torch.Tensor] = {}
        self._fisher: dict[str, torch.Tensor] = {}

    def penalty(self, step: Rehearsing, batch: Batch) -> dict[str, torch.Tensor]:
        """Return strength / 2 times the squared distance from the anchor, weighted by the Fisher information."""
        del batch
        if not self._anchor:
            return {}
        now = trained(step.model)
        parts = [
            (self._fisher[name] * (now[name][: len(anchor)] - anchor).square()).sum()
            for name, anchor in self._anchor.items()
        ]
        return {"ewc": self.config.strength / 2 * torch.stack(parts).sum()}

    def consolidate(self, step: Rehearsing, memory: ReplayMemory) -> None:
        """Let the older Fisher information fade, add that of stored samples, and anchor the weights where they are."""
        if not len(memory):
            return
        draw = rng.stream(step.seed, "ewc", step.number)
        slots = draw.choice(len(memory), min(self.config.samples, len(memory)), replace=False)
        now = trained(step.model)
        fresh = {name: torch.zeros_like(parameter) for name, parameter in now.items()}
        for slot in slots.tolist():
            scores = step.model(memory.gather(np.array([slot])).tokens)
            label = _answer(scores, draw)
            loss = step.task.loss(scores, torch.tensor([label], device=scores.device))
            for name, gradient in zip(
                fresh, torch.autograd.grad(loss, list(now.values()), allow_unused=True), strict=True
            ):
                if gradient is not None:
                    fresh[name] += gradient.square() / len(slots)
        for name, old in self._fisher.items():
            fresh[name][: len(old)] += self.config.decay * old
        self._fisher, self._anchor = fresh, copies(now)

    def state_dict(self) -> dict[str, Any]:
        """Return the anchor and the Fisher information."""
        return {"anchor": dict(self._anchor), "fisher": dict(self._fisher)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take both over."""
        self._anchor, self._fisher = copies(state["anchor"], device), copies(state["fisher"], device)


def _answer(scores: torch.Tensor, draw: np.random.Generator) -> int:
    """Draw a class from the model's answer, (1, classes): the information is about its answers, not the labels."""
    ends = scores.detach().double().softmax(dim=1)[0].cumsum(0).cpu().numpy()
    return min(int(np.searchsorted(ends, draw.random() * ends[-1], side="right")), len(ends) - 1)
