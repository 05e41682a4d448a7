"""What a penalty is: a loss beside the strategy's, against a past state of the model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from streamlearn.core.batch import Batch
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.penalties.family import PenaltyConfig
from streamlearn.learning.strategies.base import Rehearsing
from streamlearn.model.model import Model


class Penalty(ABC):
    """The base of all penalties. A stream has no task boundaries, so the past state is taken anew every so many steps.

    Whatever it does is a function of the batches in their order and of the streams of `streamlearn.core.rng`.
    """

    remembers: ClassVar[bool] = False  # needs the memory filled, whether or not the strategy rehearses

    Config = PenaltyConfig

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - each penalty's own Config
        self.config = config

    @abstractmethod
    def penalty(self, step: Rehearsing, batch: Batch) -> dict[str, torch.Tensor]:
        """Return named scalar losses for the new batch; none before the first consolidation."""

    @abstractmethod
    def consolidate(self, step: Rehearsing, memory: ReplayMemory) -> None:
        """Take the model as it is now for the past. Called every `config.every` steps, outside of any step."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return its state, as live tensors and JSON values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take over what a penalty of the same configuration returned."""


def trained(model: Model) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that learning moves, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copies(weights: Mapping[str, torch.Tensor], device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """Return the tensors' values, as tensors of their own."""
    return {name: tensor.detach().clone().to(device or tensor.device) for name, tensor in weights.items()}
