"""The digest of weights, whatever holds them: tensors of torch, or those of a file. Without torch."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, Self, TypeVar


class Rows(Protocol):
    """What has rows, of which a slice can be taken."""

    def __getitem__(self, rows: Any, /) -> Self: ...  # noqa: ANN401 - torch takes many kinds of index


T = TypeVar("T", bound=Rows)


class Content(NamedTuple):
    """What a digest takes of a tensor: torch's name of its type, its shape, and its bytes, row by row."""

    type: str
    shape: Sequence[int]
    data: memoryview


def digest(weights: Mapping[str, T], head_rows: int, content: Callable[[T], Content]) -> str:
    """Return the SHA-256 of named weights: names, shapes and bytes; of the head, the rows in use."""
    found = sha256()
    for name, tensor in sorted(weights.items()):
        rows: T = tensor[:head_rows] if name.startswith("head.") else tensor
        kind, shape, data = content(rows)
        found.update(json.dumps([name, kind, list(shape)]).encode())
        found.update(data)
    return found.hexdigest()
