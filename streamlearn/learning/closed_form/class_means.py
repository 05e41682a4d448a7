"""The mean of each class, over all that was ever seen of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional


def home(device: torch.device) -> torch.device:
    """Return where statistics live: on the device, or on the CPU where the device knows no float64."""
    return torch.device("cpu") if device.type == "mps" else device


class ClassMeans:
    """Sums and counts by class, in float64: exact to add to and to take from.

    Args:
        size: d, the features.
        device: where it lives; the CPU where that knows no float64.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        device = home(device)
        self.sums = torch.zeros(0, size, device=device, dtype=torch.float64)
        self.counts = torch.zeros(0, device=device, dtype=torch.float64)
        self._directions: torch.Tensor | None = None

    def grow(self, classes: int) -> None:
        """Have at least so many classes; a new one is empty."""
        missing = classes - len(self.counts)
        if missing > 0:
            self.sums = torch.cat([self.sums, self.sums.new_zeros(missing, self.sums.shape[1])])
            self.counts = torch.cat([self.counts, self.counts.new_zeros(missing)])
            self._directions = None

    def add(self, rows: torch.Tensor, labels: torch.Tensor, sign: float = 1.0) -> None:
        """Take in (or, with sign -1, out) rows of shape (n, d) with labels (n,)."""
        of_class = torch.zeros(len(labels), len(self.counts), device=self.sums.device, dtype=torch.float64)
        of_class[torch.arange(len(labels)), labels.to(self.sums.device)] = sign
        self.sums.addmm_(of_class.T, rows.to(self.sums))  # not index_add_: its order is not fixed on a GPU
        self.counts += of_class.sum(0)
        if sign < 0:
            self.sums[self.counts == 0] = 0  # what rounding left
        self._directions = None

    def clear(self, label: int | None = None) -> None:
        """Empty one class, or all of them."""
        which = slice(None) if label is None else label
        self.sums[which], self.counts[which] = 0, 0
        self._directions = None

    def directions(self) -> torch.Tensor:
        """Return the means at unit length, float32 of shape (classes, d); zeros for a class that is empty."""
        if self._directions is None:  # asked for with every prediction, and changed by what is learned alone
            means = self.sums / self.counts.clamp(min=1).unsqueeze(1)
            self._directions = functional.normalize(means.float(), dim=1)
        return self._directions

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, as live tensors."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's statistics."""
        self.sums = state["sums"].to(self.sums).clone()
        self.counts = state["counts"].to(self.counts).clone()
        self._directions = None
