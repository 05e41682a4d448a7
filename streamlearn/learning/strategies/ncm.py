"""Nearest class mean: Mensink et al., "Distance-based image classification: generalizing to new classes at near-zero
cost", TPAMI 2013; on a frozen encoder, with the cosine as the measure."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from streamlearn.core.batch import Batch, Tokens
from streamlearn.learning.closed_form import ClassMeans
from streamlearn.learning.closed_form.recent_features import Kept
from streamlearn.learning.memory import ReplayMemory
from streamlearn.learning.novelty import energy
from streamlearn.learning.strategies.base import ClosedForm, Rehearsing, finite, padded, strategies
from streamlearn.learning.strategies.exported import Exported, linear
from streamlearn.model.model import Model

SHARPNESS = 20.0  # cosines times this are the scores before softmax


@strategies.register("ncm")
class NearestClassMean(ClosedForm):
    """A class is the mean of its samples' normalised features: known from its first label, never forgotten."""

    def bind(self, model: Model, seed: int) -> None:
        """Make room for its features."""
        del seed
        self.means = ClassMeans(model.width, model.device)
        self._novelty_scores: torch.Tensor | None = None

    def scores(self, model: Model, tokens: Tokens) -> torch.Tensor:
        """Return the cosines to the classes' means."""
        if not len(self.means.counts):
            return super().scores(model, tokens)  # a fine-tuned checkpoint knows something before the first label
        features = functional.normalize(model.features(tokens).float(), dim=1)
        return padded(self._scores(features), model.head.size)

    def exported(self, model: Model) -> Exported:
        """Return the classes' means at unit length, times the sharpness."""
        if not len(self.means.counts):
            return super().exported(model)
        return Exported("unit", linear(SHARPNESS * self.means.directions(), None, model.head.size))

    def absorb(self, learner: Rehearsing, batch: Batch, memory: ReplayMemory) -> None:
        """Add the batch to the means."""
        del memory
        features = functional.normalize(learner.model.features(batch.tokens).float(), dim=1)
        self._novelty_scores = energy(self._scores(features)) if len(self.means.counts) else None
        self.means.grow(len(learner.task.labels))
        rows = finite(features)
        labels = learner.labels(batch)[rows]
        self.means.add(features[rows], labels)
        self.remember(batch, rows, features[rows], labels)

    def relearn(self, kept: Kept, label: int, classes: int) -> None:
        """Take the sample from one mean to the other."""
        self.means.grow(classes)
        self.means.add(kept.features, torch.tensor([kept.label]), -1.0)
        self.means.add(kept.features, torch.tensor([label]))

    def unlearn(self, found: Sequence[Kept]) -> None:
        """Take each sample out of its mean."""
        for kept in found:
            self.means.add(kept.features, torch.tensor([kept.label]), -1.0)

    def novelty_scores(self) -> torch.Tensor | None:
        """Return what the last batch had, just before it was learned."""
        return self._novelty_scores

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts."""
        return self.means.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's sums and counts."""
        self.means.load_state_dict(state)

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        return SHARPNESS * features @ self.means.directions().to(features.device).T
