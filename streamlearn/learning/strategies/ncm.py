"""Nearest class mean: Mensink et al., "Distance-based image classification: generalizing to new classes at near-zero
cost", TPAMI 2013; on a frozen encoder, with the cosine as the measure."""

from collections.abc import Sequence

import torch

from streamlearn.learning.closed_form.recent_features import Kept
from streamlearn.learning.strategies.base import ClassMeansForm

SHARPNESS = 20.0  # cosines times this are the scores before softmax


class NearestClassMean(ClassMeansForm):
    """A class is the mean of its samples' normalised features: known from its first label, never forgotten."""

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Add the samples to their classes' means."""
        self.means.add(features, labels)

    def discriminants(self, features: torch.Tensor) -> torch.Tensor:
        """Return the cosines to the classes' means, sharpened."""
        return SHARPNESS * features @ self.means.directions().to(features.device).T

    def linear_map(self) -> tuple[torch.Tensor, None]:
        """Return the classes' means at unit length, times the sharpness."""
        return SHARPNESS * self.means.directions(), None

    def relearn(self, kept: Kept, label: int, classes: int) -> None:
        """Take the sample from one mean to the other."""
        self.means.grow(classes)
        self.means.add(kept.features, torch.tensor([kept.label]), -1.0)
        self.means.add(kept.features, torch.tensor([label]))

    def unlearn(self, found: Sequence[Kept]) -> None:
        """Take each sample out of its mean."""
        for kept in found:
            self.means.add(kept.features, torch.tensor([kept.label]), -1.0)
