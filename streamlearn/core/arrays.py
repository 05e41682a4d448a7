"""State in columns: what measures with numpy hands its columns to what stores tensors, and takes them back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def tensors(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with its arrays as tensors that share their memory; the rest stays what it is."""
    return {name: torch.from_numpy(each) if isinstance(each, np.ndarray) else each for name, each in state.items()}


def arrays(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with its tensors as arrays that share their memory; the rest stays what it is."""
    return {name: each.numpy() if isinstance(each, torch.Tensor) else each for name, each in state.items()}
