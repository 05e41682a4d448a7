"""Samples in columns: the boundary between records (strings, numbers) and tensors.

A `Batch` is a few arrays that have one row a sample. The replay memory stores the same columns, so a gather from it is
a `Batch` too, and the model never sees where a row came from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.core.target import IntArray, Target

__all__ = ["Batch", "IntArray", "Sample", "Tokens", "buckets", "concat", "pad"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of n texts, padded on the right.

    Args:
        ids: integers of shape (n, width), `width` at least the longest length; what lies beyond a length is undefined.
        lengths: integers of shape (n,).
    """

    ids: IntArray
    lengths: IntArray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice | IntArray | list[int]) -> "Tokens":
        return Tokens(self.ids[rows], self.lengths[rows])


class Sample(NamedTuple):
    """One event with its label, ready to be learned. `tokens` has shape (length,); `label` is what the task makes of
    it."""

    id: str
    tokens: IntArray
    label: Target


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in columns: `labels` are the targets as the task encodes them, of shape (n, ...): for classes the
    vocabulary's numbers, (n,). `groups` numbers the group of each sample, (n,), where the labels are no such numbers.

    `outputs` is what was stored of the model's scores for rehearsed samples: float32 of shape (n, width), with nan for
    classes that were not known then.
    """

    tokens: Tokens
    labels: IntArray
    ids: Sequence[str]
    outputs: npt.NDArray[np.float32] | None = None
    groups: IntArray | None = None

    @property
    def group_numbers(self) -> IntArray:
        """The number of each sample's group, (n,): what the memory balances."""
        return self.labels if self.groups is None else self.groups

    def __len__(self) -> int:
        return len(self.ids)


def pad(rows: Sequence[IntArray]) -> Tokens:
    """Stack token ids of different lengths into one padded array."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.zeros((len(rows), int(lengths.max(initial=1))), dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate([*rows, np.empty(0, np.int64)])
    return Tokens(ids, lengths)


def concat(first: Batch, second: Batch) -> Batch:
    """Return the rows of both, in this order, without stored outputs."""
    width = max(first.tokens.ids.shape[1], second.tokens.ids.shape[1])
    ids = np.zeros((len(first) + len(second), width), dtype=np.int64)
    ids[: len(first), : first.tokens.ids.shape[1]] = first.tokens.ids
    ids[len(first) :, : second.tokens.ids.shape[1]] = second.tokens.ids
    lengths = np.concatenate([first.tokens.lengths, second.tokens.lengths])
    labels = np.concatenate([first.labels, second.labels])
    groups = None if first.groups is None else np.concatenate([first.groups, second.group_numbers])
    return Batch(Tokens(ids, lengths), labels, [*first.ids, *second.ids], groups=groups)


def buckets(lengths: IntArray, rows: int) -> Iterator[IntArray]:
    """Cut rows into slices of `rows` rows of like length, so that little of a slice is padding.

    The cut is by count alone and the sort is stable: the same batch always gives the same slices, which a bitwise
    repeatable forward pass needs. Yields the row numbers of each slice.
    """
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), rows):
        yield order[start : start + rows]
