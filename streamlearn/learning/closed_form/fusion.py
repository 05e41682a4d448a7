"""How much each part of an answer counts: learned from every sample just before it is learned itself."""

from collections.abc import Mapping
from typing import Any

import torch

from streamlearn.learning.closed_form.ridge_head import Evidence

RATE = 0.1  # of the first step; they shrink as gradients add up
START = (20.0, 1.0, 0.0)
LOWEST = (5.0, 0.5, 0.0)
HIGHEST = (80.0, 1.5, 3.0)
_LOWEST, _HIGHEST = torch.tensor(LOWEST, dtype=torch.float64), torch.tensor(HIGHEST, dtype=torch.float64)


class Fusion:
    """Class scores = sharpness x (ridge + prototypes x prototype) + rehearsed x log-softmax of the rehearsed head.

    The three weights descend the log loss of what would have been answered, by AdaGrad (Duchi et al., JMLR 2011) within
    fixed bounds. So the answer's probabilities are calibrated as well, and what does not help loses its weight. The
    sharpness moves on a logarithmic scale.
    """

    def __init__(self) -> None:
        self.weights = torch.tensor(START, dtype=torch.float64)
        self.squares = torch.full((3,), 1e-2, dtype=torch.float64)

    @property
    def rehearsed(self) -> float:
        """How much the rehearsed head counts."""
        return float(self.weights[2])

    def combine(self, evidence: Evidence, rehearsed: torch.Tensor | None) -> torch.Tensor:
        """Return class scores before softmax, of shape (n, classes).

        Args:
            evidence: of the closed-form head.
            rehearsed: log-probabilities of the rehearsed head, of the same shape; None where it was not asked.
        """
        sharpness, prototypes, weight = self.weights.tolist()
        scores = sharpness * (evidence.ridge + prototypes * evidence.prototype)
        return scores if rehearsed is None else torch.add(scores, rehearsed, alpha=weight)

    def learn(self, evidence: Evidence, rehearsed: torch.Tensor | None, labels: torch.Tensor) -> None:
        """Take one step on samples whose classes are all among those that were scored; none where it is not finite."""
        if not len(labels):
            return
        sharpness, prototypes, _ = self.weights.tolist()
        wrong = self.combine(evidence, rehearsed).softmax(1)
        wrong[torch.arange(len(labels), device=labels.device), labels] -= 1
        parts = [
            sharpness * (evidence.ridge + prototypes * evidence.prototype),
            sharpness * evidence.prototype,
            torch.zeros_like(wrong) if rehearsed is None else rehearsed,
        ]
        gradient = torch.stack([(wrong * part).sum(1).mean() for part in parts]).cpu().double()
        if not gradient.isfinite().all():
            return
        self.squares += gradient**2
        moved = self.weights.clone()
        moved[0] = moved[0].log()
        moved -= RATE * gradient / self.squares.sqrt()
        moved[0] = moved[0].exp()
        self.weights = moved.clamp(_LOWEST, _HIGHEST)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and their accumulated squares."""
        return {"fusion": self.weights, "fusion_squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's weights."""
        self.weights, self.squares = state["fusion"].clone(), state["fusion_squares"].clone()
