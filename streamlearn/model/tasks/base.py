"""The protocol of a task."""

from collections.abc import Sequence
from typing import Protocol

import torch

from streamlearn.core.registry import Registry
from streamlearn.core.scores import Scores
from streamlearn.core.vocabulary import Labels


class Task(Protocol):
    """What a kind of problem needs beyond a backbone. `labels` is its vocabulary."""

    labels: Labels

    def loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of scores (n, classes) for labels (n,)."""
        ...

    def losses(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample: (n,)."""
        ...

    def scores(self, output: torch.Tensor, top_k: int) -> Scores:
        """Turn the model's output (n, classes) into probabilities."""
        ...

    def known_from(self, labels: Sequence[str]) -> None:
        """Take over the labels that a fine-tuned checkpoint knows, before anything is learned."""
        ...


tasks: Registry[Task] = Registry("task")
