"""Ridge regression over layer features, helped by class means where labels are few: what `ridge` and `dual` know."""

import math
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, NamedTuple, Self

import torch

from streamlearn.learning.closed_form.class_means import ClassMeans, home
from streamlearn.learning.closed_form.least_squares import BLOCK, LeastSquares
from streamlearn.learning.closed_form.random_features import CENTRING, LayerFeatures
from streamlearn.learning.closed_form.recent_features import Kept

FEW = 20.0  # labels after which a class's mean has half its weight
PLAIN = 6.0  # weight of the centred features themselves beside the random ones


class Evidence(NamedTuple):
    """What speaks for each class, both of shape (n, classes): `ridge` is near 1 for the class and near 0 for others;
    `prototype` is the cosine to the class's mean, and fades as its labels become many. And what speaks for none, (n,):
    `novelty_scores` are high where neither the regression nor the cosine, unfaded, finds a class. The highest score of
    any class is what Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples",
    ICLR 2017 (arXiv 1610.02136) go by; the distance to the nearest class is that of Lee et al., "A simple unified
    framework for detecting out-of-distribution samples", NeurIPS 2018 (arXiv 1807.03888), with the cosine as the
    measure. Their sum tells more than either."""

    ridge: torch.Tensor
    prototype: torch.Tensor
    novelty_scores: torch.Tensor


class RidgeHead:
    """Learns hidden states of a frozen encoder, exactly and in any order.

    Args:
        layers: L, the layers that are read.
        width: d, the width of each.
        size: random features, about.
        ridge: of the regression.
        seed: of the random features.
        device: where the statistics live; the CPU where that knows no float64.
        dtype: of the regression.
    """

    def __init__(
        self, layers: int, width: int, size: int, *, ridge: float, seed: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        device = self.device = home(device)
        self.features = LayerFeatures(layers, width, size, seed=seed, device=device)
        self.regression = LeastSquares(self.features.size + layers * width, ridge=ridge, device=device, dtype=dtype)
        self.regressions = [self.regression]  # all that learn what has a label
        self.means = ClassMeans(layers * width, device)
        self.settled = False  # whether the centre is fixed; until then the first samples are kept
        self.first_hidden = torch.zeros(0, layers, width, device=device)
        self.first_labels = torch.zeros(0, dtype=torch.int64, device=device)

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return self.regression.weights.shape[1]

    @property
    def serving(self) -> LeastSquares:
        """The regression that answers."""
        return self.regression

    def directions(self) -> torch.Tensor:
        """Return the class means that answer, at unit length: (classes, L * d)."""
        return self.means.directions()

    def evidence(self, hidden: torch.Tensor) -> Evidence:
        """Return what speaks for each known class in hidden states of shape (n, L, d)."""
        centred, rows = self._rows(hidden.to(self.device))
        cosines = centred.flatten(1) @ self.directions().T
        ridge = self.serving.predict(rows).float()
        novelty_scores = -(ridge.amax(1) + cosines.amax(1)) if self.classes else ridge.new_zeros(len(ridge))
        return Evidence(*(each.to(hidden.device) for each in (ridge, cosines * self._fading(), novelty_scores)))

    def folded(self, sharpness: float, prototypes: float) -> torch.Tensor:
        """Return the weight (classes, L * d + size) of `sharpness * (ridge + prototypes * prototype)`.

        It reads each layer's centred vector at unit length, layer after layer, and then the ReLU of their projections:
        `centred` and `expand` of `LayerFeatures`, but for the scale that makes one unit vector of L.
        """
        plain = self.means.sums.shape[1]
        weight = self.serving.weights.T.to(torch.float64, copy=True)
        weight[:, :plain] *= PLAIN
        weight[:, :plain] += prototypes * (self._fading().unsqueeze(1) * self.directions())
        weight[:, :plain] /= math.sqrt(self.features.layers)
        return (sharpness * weight).float()

    def learn(self, hidden: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
        """Take in hidden states (n, L, d) with labels (n,) of `classes` known ones."""
        self._grow(classes)
        hidden, labels = hidden.to(self.device), labels.to(self.device)
        if not len(labels):
            return
        if self.settled:
            self._take(hidden, labels)
        else:
            self._begin(hidden, labels)

    def correct(self, kept: Kept, label: int, classes: int) -> None:
        """Let a learned sample speak for another class, of `classes` known ones: as if it always had, up to rounding.

        The rows of the regression stay, and only what they are to give changes.
        """
        self._grow(classes)
        if not self.settled:
            self.first_labels[-kept.back] = label
            self._begin_anew()
            return
        centred, rows = self._rows(kept.features.to(self.device))
        change = torch.zeros(1, self.regression.weights.shape[1], device=rows.device)
        change[0, label] = 1
        if kept.label >= 0:
            change[0, kept.label] = -1
            self.means.add(centred.flatten(1), torch.tensor([kept.label]), -1.0)
        self.means.add(centred.flatten(1), torch.tensor([label]))
        for each in self.regressions:
            each.retarget(rows, change)

    def forget(self, found: Sequence[Kept]) -> None:
        """Take learned samples out: as if they had never come, up to rounding. The centre stays, once it is fixed."""
        if not self.settled:
            for kept in found:
                at = len(self.first_labels) - kept.back
                left = torch.arange(len(self.first_labels), device=self.first_labels.device) != at
                self.first_hidden, self.first_labels = self.first_hidden[left], self.first_labels[left]
            self._begin_anew()
            return
        for at in range(0, len(found), BLOCK):
            block = found[at : at + BLOCK]
            centred, rows = self._rows(torch.cat([kept.features for kept in block]).to(self.device))
            labels = torch.tensor([kept.label for kept in block], device=rows.device)
            has = labels >= 0  # else its evidence was dropped before
            targets = torch.zeros(len(block), self.regression.weights.shape[1], device=rows.device)
            targets[has.nonzero().flatten(), labels[has]] = 1
            self.means.add(centred[has].flatten(1), labels[has], -1.0)
            for each in self.regressions:
                each.unlearn(rows, targets)

    def release(self, label: int) -> None:
        """Let go of what speaks for a class: what it meant, it means no more. What speaks against it stays."""
        for each in self.regressions:
            each.settle()
            each.weights[:, label] = 0
        self.means.clear(label)

    def served_copy(self) -> Self:
        """Return a copy that gives the same evidence, and cannot learn: of the regressions it has the one that answers,
        and of that no inverse. Projections and centre are never written to, so they are shared."""
        copied = copy(self)
        copied.features, copied.means = copy(self.features), deepcopy(self.means)
        copied.regression = self.serving.served_copy()
        copied.regressions = [copied.regression]
        copied.first_hidden, copied.first_labels = self.first_hidden[:0].clone(), self.first_labels[:0].clone()
        return copied

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, as live tensors."""
        return {
            **self.features.state_dict(),
            **self.regression.state_dict(),
            **self.means.state_dict(),
            "settled": self.settled,
            "first_hidden": self.first_hidden,
            "first_labels": self.first_labels,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a head of the same configuration returned."""
        self.features.load_state_dict(state)
        self.regression.load_state_dict(state)
        self.means.load_state_dict(state)
        self.settled = bool(state["settled"])
        self.first_hidden = state["first_hidden"].to(self.first_hidden).clone()
        self.first_labels = state["first_labels"].to(self.first_labels).clone()

    def _grow(self, classes: int) -> None:
        for each in self.regressions:
            each.grow(classes)
        self.means.grow(classes)

    def _fading(self) -> torch.Tensor:
        return ((self.means.counts > 0) / (1.0 + (self.means.counts / FEW) ** 2)).float()

    def _rows(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centred = self.features.centred(hidden)
        plain = centred.flatten(1) * PLAIN
        return centred, torch.cat([plain, self.features.expand(centred)], dim=1)

    def _take(self, hidden: torch.Tensor, labels: torch.Tensor) -> None:
        centred, rows = self._rows(hidden)
        targets = torch.zeros(len(labels), self.regression.weights.shape[1], device=rows.device)
        targets[torch.arange(len(labels), device=rows.device), labels] = 1
        self.means.add(centred.flatten(1), labels)
        for each in self.regressions:
            each.learn(rows, targets)
            if (each.targets.sum(0) > self.means.counts / 2).any():  # a class is known at once
                each.settle()

    def _begin(self, hidden: torch.Tensor, labels: torch.Tensor) -> None:
        """While the centre still moves with each batch, begin anew with all samples so far."""
        self.first_hidden = torch.cat([self.first_hidden, hidden.float()])
        self.first_labels = torch.cat([self.first_labels, labels])
        self._begin_anew()
        if len(self.first_labels) >= CENTRING:
            self.settled = True
            self.first_hidden, self.first_labels = self.first_hidden[:0].clone(), self.first_labels[:0].clone()

    def _begin_anew(self) -> None:
        for each in self.regressions:
            each.reset()
        self.means.clear()
        if not len(self.first_labels):
            return
        self.features.centre(self.first_hidden[:CENTRING])
        self._take(self.first_hidden, self.first_labels)
