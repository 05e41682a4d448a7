"""A state, and when two are the same."""

import math

import torch

from streamlearn.durability.snapshots import name

OLD, NEW, NEXT = name(1, 5), name(1, 20), name(2, 7)
STATE = {
    "model": {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.ones(3, dtype=torch.bfloat16)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]},
    "memory": {"ids": ["a", "b"], "seen": 17},
}
LATER = {**STATE, "memory": {"ids": ["a", "c"], "seen": 18}}
WHOLE = {"manifest.json"} | {f"{part}.{end}" for part in STATE for end in ("json", "safetensors")}


def same(one, other):
    """Whether two states are equal to the last bit, types, order and nan included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        if not one.numel():  # it may have any strides, and no bits
            return (one.dtype, one.shape) == (other.dtype, other.shape)
        bits = [each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other)]
        return (one.dtype, one.shape, one.device) == (other.dtype, other.shape, other.device) and torch.equal(*bits)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one, math.copysign(1, one)) == (
            other,
            math.copysign(1, other),
        )
    return one == other
