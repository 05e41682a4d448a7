"""A part of the state as two files: JSON for its structure, safetensors for its tensors. No pickle.

`{"step": 3, "w": tensor}` becomes `{"step": 3, "w": {"$tensor": "w"}}`, and a tensor that is called `w`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from streamlearn.durability.stored_state import unpack


def encode(part: str, content: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the structure and the tensors of a part of the state.

    Args:
        part: its name, for the message of an assertion.
        content: nested dicts (keys str or int), lists, tuples, JSON values (nan and inf too) and dense tensors.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = json.dumps(_pack(content, part, tensors), allow_nan=False).encode()
    return structure, _bytes(tensors)


def decode(structure: bytes, tensors: bytes) -> Any:  # noqa: ANN401 - any state there is
    """Return the content that `encode` encoded."""
    return unpack(json.loads(structure), load_tensors(tensors))


def _pack(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401 - any state there is
    """Return `value` as JSON; its tensors go to `tensors`, under their dotted path where it is free.

    What JSON lacks is a dict of one key that begins with "$"; a dict of the state with such a key is written as a list.
    """
    if isinstance(value, torch.Tensor):
        assert value.layout == torch.strided, f"{path}: only dense tensors are written"
        key = path.partition(".")[2].encode(errors="backslashreplace").decode()
        while key in tensors or key == "__metadata__":  # paths are ambiguous: keys may hold dots; safetensors keeps one
            key += "'"
        tensors[key] = value.detach().cpu().contiguous()
        return {"$tensor": key}
    if isinstance(value, Mapping):
        assert all(type(key) in (str, int) for key in value), f"{path}: keys are strings or integers"
        items = {key: _pack(each, f"{path}.{key}", tensors) for key, each in value.items()}
        plain = all(isinstance(key, str) and not key.startswith("$") for key in items)
        return items if plain else {"$items": [list(item) for item in items.items()]}
    if type(value) in (list, tuple):
        values = [_pack(each, f"{path}.{at}", tensors) for at, each in enumerate(value)]
        return values if type(value) is list else {"$tuple": values}
    assert value is None or type(value) in (bool, int, float, str), f"{path}: {type(value)} is no state"
    if type(value) is float and not math.isfinite(value):
        return {"$float": repr(value)}
    return value


def _bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the tensors in the format of safetensors, which refuses those that share memory: they become copies."""
    own: dict[int, torch.Tensor] = {}
    apart: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[key] = tensor.clone() if place in own else own.setdefault(place, tensor)
    return save_tensors(apart)
