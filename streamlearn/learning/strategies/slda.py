"""Streaming linear discriminant analysis: Hayes and Kanan, "Lifelong machine learning with deep streaming linear
discriminant analysis", CVPR Workshops 2020 (arXiv 1909.01520)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from streamlearn.learning.closed_form.recent_features import Kept
from streamlearn.learning.strategies.base import ClassMeansForm
from streamlearn.learning.strategies.family import StreamingLDAConfig
from streamlearn.model.model import Model


class StreamingLDA(ClassMeansForm):
    """Class means and one covariance within classes, updated sample by sample; then the discriminant is solved."""

    Config = StreamingLDAConfig

    config: StreamingLDAConfig

    def bind(self, model: Model, seed: int, *, correctable: int = 0) -> None:
        """Make room for the model's features."""
        super().bind(model, seed, correctable=correctable)
        self.scatter = torch.zeros(model.width, model.width, dtype=torch.float64, device=self.means.sums.device)
        self.weights = torch.zeros(0, model.width, device=model.device)
        self.bias = torch.zeros(0, device=model.device)

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Add the samples, and solve for the discriminant.

        1. Each sample adds to the scatter within its class, by Welford's update: n / (n + 1) times the square of its
           distance to the mean of the n before.
        2. Weights are the means times the inverse of the shrunken covariance.
        """
        rows, labels = features.to(self.scatter), labels.to(self.scatter.device)
        for at in range(len(labels)):  # 1
            self._add(rows[at : at + 1], labels[at : at + 1])
        self._solve()  # 2

    def discriminants(self, features: torch.Tensor) -> torch.Tensor:
        """Return the linear discriminants, up to what all classes share."""
        return features @ self.weights.T + self.bias

    def linear_map(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights and bias of the discriminants."""
        return self.weights, self.bias

    def relearn(self, kept: Kept, label: int, classes: int) -> None:
        """Take the sample from one class to the other: out by Welford's update backwards."""
        self.means.grow(classes)
        self._take_out(kept)
        self._add(kept.features.to(self.scatter), torch.tensor([label], device=self.scatter.device))
        self._solve()

    def unlearn(self, found: Sequence[Kept]) -> None:
        """Take each sample out by Welford's update backwards."""
        for kept in found:
            self._take_out(kept)
        self._solve()

    def state_dict(self) -> dict[str, Any]:
        """Return means and scatter."""
        return {**super().state_dict(), "scatter": self.scatter}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's means and scatter."""
        super().load_state_dict(state)
        self.scatter = state["scatter"].to(self.scatter).clone()
        self._solve()

    def _add(self, row: torch.Tensor, label: torch.Tensor) -> None:
        n = self.means.counts[label]
        away = row - self.means.sums[label] / n.clamp(min=1).unsqueeze(1)
        self.scatter.addmm_(away.T, away * (n / (n + 1)).unsqueeze(1))
        self.means.add(row, label)

    def _take_out(self, kept: Kept) -> None:
        row, label = kept.features.to(self.scatter), torch.tensor([kept.label], device=self.scatter.device)
        n = self.means.counts[label]
        away = row - self.means.sums[label] / n.unsqueeze(1)
        self.scatter.addmm_(away.T, away * (-n / (n - 1).clamp(min=1)).unsqueeze(1))  # alone in its class it is 0 away
        self.means.add(row, label, -1.0)

    def _solve(self) -> None:
        covariance = self.scatter / self.means.counts.sum().clamp(min=1)
        size, share = len(covariance), self.config.shrinkage
        covariance = (1 - share) * covariance
        covariance.diagonal().add_(share * self.scatter.trace() / self.means.counts.sum().clamp(min=1) / size + 1e-9)
        means = self.means.sums / self.means.counts.clamp(min=1).unsqueeze(1)
        weights = torch.linalg.solve(covariance, means.T).T
        empty = self.means.counts == 0
        self.weights = weights.float().to(self.weights.device)
        self.bias = (-0.5 * (weights * means).sum(1)).masked_fill(empty, -1e9).float().to(self.bias.device)
