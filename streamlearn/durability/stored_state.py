"""A part of the state as its two files have it, read without torch: for whoever looks at a snapshot, and learns not.

`state_codec` says what the files are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

ERRORS: Final = (ValueError, KeyError, TypeError, SafetensorError)  # of `decode`, for what is no state

# What safetensors and torch call a type.
_TYPES: Final = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a file has it.

    Args:
        type: its name in torch and, but for bfloat16, in numpy: float32.
        shape: its dimensions.
        data: its elements, row by row.
    """

    type: str
    shape: tuple[int, ...]
    data: memoryview

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "StoredTensor":
        """Return some rows, one after the other."""
        start, stop, _ = rows.indices(len(self))
        row = len(self.data) // max(len(self), 1)
        return StoredTensor(self.type, (max(stop - start, 0), *self.shape[1:]), self.data[start * row : stop * row])

    def numpy(self) -> npt.NDArray[Any]:
        """Return its elements; what numpy cannot hold (bfloat16) is a TypeError."""
        return np.frombuffer(self.data, self.type).reshape(self.shape)


def decode(structure: bytes, tensors: bytes) -> Any:  # noqa: ANN401 - any state there is
    """Return the content of a part, with a `StoredTensor` for each tensor."""
    stored = {
        key: StoredTensor(_TYPES[each["dtype"]], tuple(each["shape"]), memoryview(each["data"]))
        for key, each in deserialize(tensors)  # type: ignore[no-untyped-call]
    }
    return unpack(json.loads(structure), stored)


def unpack(value: Any, tensors: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any state there is
    """Return the content that a structure stands for, with these tensors in it."""
    if isinstance(value, list):
        return [unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("$tensor", key)]:
            return tensors[key]
        case [("$float", text)]:
            return float(text)
        case [("$tuple", values)]:
            return tuple(unpack(each, tensors) for each in values)
        case [("$items", pairs)]:
            return {key: unpack(each, tensors) for key, each in pairs}
    return {key: unpack(each, tensors) for key, each in value.items()}
