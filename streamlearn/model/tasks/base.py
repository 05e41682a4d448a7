"""The protocol of a task, and the vocabulary of labels that grows while running."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import IntArray
from streamlearn.core.registry import Registry

NONE: Final = -1  # the number of a label that is not known


class Labels:
    """The labels known so far, each with a number that it keeps for ever: append-only.

    Args:
        known: labels that are known from the start.
        closed: no other label may be added.
    """

    def __init__(self, known: Iterable[str] = (), *, closed: bool = False) -> None:
        self.names: list[str] = []
        self._numbers: dict[str | None, int] = {}
        for label in known:
            self.add(label)
        self.closed = closed

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def number(self, label: str) -> int | None:
        """Return the label's number, or None if it is not known."""
        return self._numbers.get(label)

    def numbers(self, labels: Iterable[str | None]) -> list[int]:
        """Return the labels' numbers; `NONE` stands for each that is not known, and for None."""
        return list(map(self._numbers.get, labels, repeat(NONE)))

    def add(self, label: str) -> int:
        """Return the label's number; a new label gets the next one."""
        number = self._numbers.get(label)
        if number is None:
            assert not getattr(self, "closed", False), f"{label!r} is not of the closed set"
            number = self._numbers[label] = len(self.names)
            self.names.append(label)
        return number

    def state_dict(self) -> dict[str, list[str]]:
        """Return the labels in the order of their numbers."""
        return {"names": list(self.names)}

    def load_state_dict(self, state: dict[str, list[str]]) -> None:
        """Take over another vocabulary's labels."""
        self.names = list(state["names"])
        self._numbers = {label: number for number, label in enumerate(self.names)}


class Scores(NamedTuple):
    """What the model says of n events.

    `probabilities` is float32 of shape (n, classes); `top` and `top_scores`, of shape (n, k), are the k likeliest
    classes and their probabilities, best first.
    """

    probabilities: npt.NDArray[np.float32]
    top: IntArray
    top_scores: npt.NDArray[np.float32]


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
