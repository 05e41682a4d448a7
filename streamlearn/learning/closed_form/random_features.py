"""What a closed-form head reads: hidden states of several layers, centred, and random features of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from streamlearn.core import rng

CENTRING = 64  # samples whose mean is subtracted; more do no better


class LayerFeatures:
    """Maps mean-pooled hidden states to features in which classes are nearly linear.

    Each layer's vector is L2-normalised, its mean over the stream's first samples is subtracted, and it is normalised
    again; together they are one vector of unit length (`centred`). Each layer then has its share of random features, as
    in McDonnell et al., "RanPAC", NeurIPS 2023 (arXiv 2307.02251): the ReLU of a fixed Gaussian projection, drawn from
    the seed.

    Args:
        layers: L, how many layers there are.
        width: d, of each of them.
        size: random features in all; each layer has size // L.
        seed: of the projections.
        device: where they live.
    """

    def __init__(self, layers: int, width: int, size: int, *, seed: int, device: torch.device) -> None:
        self.layers, self.width = layers, width
        self.size = size // layers * layers
        self.device = device
        self._draw(seed)
        self.mean = torch.zeros(layers, width, device=device)

    def centre(self, hidden: torch.Tensor) -> None:
        """Subtract from now on the mean of these, of shape (n, L, d)."""
        self.mean = functional.normalize(hidden.float(), dim=-1).mean(0)

    def centred(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return unit vectors of shape (n, L, d) / sqrt(L), for hidden states (n, L, d)."""
        unit = functional.normalize(functional.normalize(hidden.float(), dim=-1) - self.mean, dim=-1)
        return unit * (1 / math.sqrt(self.layers))

    def expand(self, centred: torch.Tensor) -> torch.Tensor:
        """Return the random features, of shape (n, size)."""
        projected = torch.einsum("nld,ldm->nlm", centred, self.projections)
        return torch.relu(projected).flatten(1) * math.sqrt(self.layers)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, and what it does not give."""
        return {"projections_seed": self.seed, "mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's projections and centre."""
        if state["projections_seed"] != self.seed:
            self._draw(int(state["projections_seed"]))
        self.mean = state["mean"].to(self.mean).clone()

    def _draw(self, seed: int) -> None:
        shape = (self.layers, self.width, self.size // self.layers)
        drawn = rng.stream(seed, "projection", 0).standard_normal(shape, dtype="float32")
        self.seed, self.projections = seed, torch.from_numpy(drawn).to(self.device)
