"""Learning without forgetting: Li and Hoiem, ECCV 2016 (arXiv 1606.09282)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.func import functional_call
from torch.nn import functional

from streamlearn.core.batch import Batch
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.penalties.base import Penalty, copies, trained
from streamlearn.learning.penalties.family import LwFConfig
from streamlearn.learning.strategies.base import Rehearsing


class LwF(Penalty):
    """On the new samples the model keeps answering as its own copy of the last consolidation does, over the classes
    that the copy knew. Needs no memory; costs a forward pass of the copy and one more of the model.
    """

    Config = LwFConfig

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - see Penalty
        super().__init__(config)
        self._known = 0  # classes
        self._weights: dict[str, torch.Tensor] = {}  # of the copy; what is not trained is the model's own

    def penalty(self, step: Rehearsing, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the distillation loss: the cross-entropy of both softmaxes, less the copy's own entropy."""
        if self._known < 2:  # one class has one answer
            return {}
        scale = self.config.temperature
        teacher = functional.softmax(self._teach(step, batch)[:, : self._known] / scale, dim=1)
        student = functional.log_softmax(step.forward(batch)[:, : self._known] / scale, dim=1)
        loss = functional.kl_div(student, teacher, reduction="batchmean")
        return {"lwf": self.config.strength * scale**2 * loss}

    def consolidate(self, step: Rehearsing, memory: ReplayMemory) -> None:
        """Copy the trained weights."""
        del memory
        self._known, self._weights = step.model.head.size, copies(trained(step.model))

    def state_dict(self) -> dict[str, Any]:
        """Return the copy."""
        return {"known": self._known, "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take over a copy."""
        self._known, self._weights = int(state["known"]), copies(state["weights"], device)

    def _teach(self, step: Rehearsing, batch: Batch) -> torch.Tensor:
        """Return the copy's scores, without dropout."""
        model, training = step.model, step.model.training
        model.eval()
        try:
            with torch.no_grad():
                scores: torch.Tensor = functional_call(model, self._weights, (batch.tokens,))
        finally:
            model.train(training)
        return scores
