"""The mean of each class, over all that was ever seen of it."""

from collections.abc import Mapping
from typing import Any

import torch


class ClassMeans:
    """Sums and counts by class, in float64: exact to add to and to take from.

    Args:
        size: d, the features.
        device: where it lives.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.sums = torch.zeros(0, size, device=device, dtype=torch.float64)
        self.counts = torch.zeros(0, device=device, dtype=torch.float64)

    def grow(self, classes: int) -> None:
        """Have at least so many classes; a new one is empty."""
        missing = classes - len(self.counts)
        if missing > 0:
            self.sums = torch.cat([self.sums, self.sums.new_zeros(missing, self.sums.shape[1])])
            self.counts = torch.cat([self.counts, self.counts.new_zeros(missing)])

    def add(self, rows: torch.Tensor, labels: torch.Tensor, sign: float = 1.0) -> None:
        """Take in (or, with sign -1, out) rows of shape (n, d) with labels (n,)."""
        self.sums.index_add_(0, labels, rows.double(), alpha=sign)
        self.counts.index_add_(0, labels, torch.full_like(labels, 1, dtype=torch.float64), alpha=sign)

    def means(self) -> torch.Tensor:
        """Return the means, float32 of shape (classes, d); zeros for a class that is empty."""
        return (self.sums / self.counts.clamp(min=1).unsqueeze(1)).float()

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, as live tensors."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's statistics."""
        self.sums = state["sums"].to(self.sums).clone()
        self.counts = state["counts"].to(self.counts).clone()
