"""What a task is: it decides what a label means, and what the model's output says."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from streamlearn.core.target import Answer, Column, IntArray, Judge, Measure, Target, Targets


class Task(Judge, Protocol):
    """What a kind of problem needs beyond a backbone.

    Targets are encoded for tensors: `encode` gives an array of shape (n, ...). A task of classes encodes a target as
    its class's number, which is its group's number and the row of the head too. `tests/number_task.py` is the
    shortest example of a task without classes: a target is a number.
    """

    classes: bool  # whether encoded targets are the numbers of the head's rows; strategies may need that
    column: Column | None  # how encoded targets lie in the memory; None: their group's number says all

    @property
    def outputs(self) -> int:
        """How many rows the head needs now."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """The names of the groups known so far, in the order of their numbers."""
        ...

    def targets(self, max_labels: int) -> Targets:
        """Return what admits labels, with those that are known beforehand; an open set grows up to `max_labels`."""
        ...

    def encode(self, targets: Sequence[Target]) -> IntArray:
        """Return targets for tensors, (n, ...). What is new gets a number here, in this order."""
        ...

    def group_numbers(self, encoded: IntArray) -> IntArray:
        """Return the number of each encoded target's group: (n,)."""
        ...

    def loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the head's output (n, outputs) for encoded targets (n, ...)."""
        ...

    def losses(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of each sample: (n,)."""
        ...

    def answer(self, output: torch.Tensor, top_k: int) -> Answer:
        """Read what the head's output (n, outputs) says of n events."""
        ...

    def measure(self) -> Measure:
        """Return the task's own figures, over a window that is empty."""
        ...

    def known_from(self, labels: Sequence[str]) -> None:
        """Take over the labels that a fine-tuned checkpoint knows, before anything is learned."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what was encoded so far, as JSON values; the learner keeps them among its own, under other keys."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another of the same configuration had encoded.

        Raises:
            ConfigError: the configuration says otherwise.
        """
        ...
