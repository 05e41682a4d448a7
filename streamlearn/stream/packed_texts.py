"""Many texts in two arrays, as a snapshot has them. Without torch."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Array(Protocol):
    """What numpy can read: a tensor of torch, or one of a file."""

    def numpy(self) -> npt.NDArray[Any]:
        """Return its elements."""


def pack_texts(texts: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Return texts as two arrays: their UTF-8 after one another (uint8), and how many characters each has (int32)."""
    listed = list(texts)
    data = "".join(listed).encode("utf-8", "surrogatepass")
    return {"utf8": np.frombuffer(data, np.uint8).copy(), "lengths": np.array(list(map(len, listed)), np.int32)}


def unpack_texts(packed: Mapping[str, Array]) -> list[str]:
    """Return what `pack_texts` packed, and was made tensors of."""
    whole = packed["utf8"].numpy().tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(packed["lengths"].numpy(), dtype=np.int64).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
