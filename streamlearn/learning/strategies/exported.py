"""What a strategy answers from, in numbers that need no streamlearn to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from streamlearn.model.model import Model


@dataclass(frozen=True)
class Exported:
    """A strategy's head. docs/export.md tells readers what the tensors of each kind mean.

    Args:
        kind: `linear` reads what the model's own head reads, `unit` the same at unit length, `layers` several hidden
            states. A strategy with a head of another form gives it another name.
        tensors: what is read of them, by name; class scores are `features @ weight.T + bias`.
        settings: JSON values to stand beside the kind.
        branch: `rehearsed.weight` and `rehearsed.bias` read the model by way of its branch, which is written too.
    """

    kind: str
    tensors: Mapping[str, torch.Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    branch: bool = False


def linear(weight: torch.Tensor, bias: torch.Tensor | None, classes: int) -> dict[str, torch.Tensor]:
    """Return a linear head for so many classes, float32; one that it has no row for scores 0."""
    weight = weight.detach()[:classes].float()
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()[:classes].float()
    missing = classes - len(weight)
    return {"weight": functional.pad(weight, (0, 0, 0, missing)), "bias": functional.pad(bias, (0, missing))}


def own_head(model: Model) -> dict[str, torch.Tensor]:
    """Return the model's own head."""
    return linear(model.head.weight, model.head.bias, model.head.size)
