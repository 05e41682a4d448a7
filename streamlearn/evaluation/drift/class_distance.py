"""How far an event is from every class that is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional


class Novelty:
    """Keeps the mean direction of each class's embeddings: running sums in float32 on the CPU, where adding up has one
    order whatever the device.

    Args:
        max_labels: classes that are kept; later ones are not.
    """

    def __init__(self, max_labels: int = 10_000) -> None:
        self.max_labels = max_labels
        self._rows: dict[str, int] = {}
        self._sums = torch.empty(0, 0)

    def score(self, embeddings: torch.Tensor) -> npt.NDArray[np.float64]:
        """Return 1 - the highest cosine to a class's mean, of shape (n,); nan while no class is known.

        Args:
            embeddings: of shape (n, d).
        """
        if not self._rows:
            return np.full(len(embeddings), np.nan)
        means = functional.normalize(self._sums[: len(self._rows)], dim=1).to(embeddings.device)
        nearest = (functional.normalize(embeddings.float(), dim=1) @ means.T).amax(1)
        return (1 - nearest).double().cpu().numpy()

    def learn(self, embeddings: torch.Tensor, labels: Sequence[str]) -> None:
        """Take in labelled embeddings of shape (n, d)."""
        known = [row for row, label in enumerate(labels) if self._row(label) is not None]
        if not known:
            return
        directions = functional.normalize(embeddings[known].float().cpu(), dim=1)
        if len(self._rows) > len(self._sums):
            grown = directions.new_zeros(1 << (len(self._rows) - 1).bit_length(), directions.shape[1])
            grown[: len(self._sums)] = self._sums if len(self._sums) else 0
            self._sums = grown
        rows = torch.tensor([self._rows[labels[row]] for row in known])
        self._sums.index_add_(0, rows, directions)

    def _row(self, label: str) -> int | None:
        if label not in self._rows and len(self._rows) < self.max_labels:
            self._rows[label] = len(self._rows)
        return self._rows.get(label)

    def state_dict(self) -> dict[str, Any]:
        """Return the classes, in the order in which they came, and the sums of their directions."""
        return {"labels": list(self._rows), "sums": self._sums[: len(self._rows)].clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the classes of another."""
        self._rows = {label: row for row, label in enumerate(state["labels"])}
        sums: torch.Tensor = state["sums"]
        self._sums = sums.new_zeros(1 << max(0, len(sums) - 1).bit_length(), sums.shape[1]) if len(sums) else sums
        self._sums[: len(sums)] = sums
