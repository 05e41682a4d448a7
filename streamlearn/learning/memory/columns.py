"""What policies and retrievals see of the memory: columns that have one row a stored sample, and counts by class."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamlearn.core.batch import IntArray


class Columns(Protocol):
    """The memory, to be read. Slots 0 to len - 1 are in use, and every column has shape (len,)."""

    capacity: int
    seen: int  # samples that were offered
    seen_by_label: dict[int, int]

    def __len__(self) -> int: ...

    @property
    def labels(self) -> IntArray:
        """The class of each stored sample."""
        ...

    @property
    def order(self) -> IntArray:
        """When each was stored: a smaller number is older."""
        ...

    @property
    def losses(self) -> npt.NDArray[np.float32]:
        """The loss of each when the model last saw it while learning; below 0 where that is not known."""
        ...

    @property
    def class_sizes(self) -> IntArray:
        """How many stored samples each label has, by its number."""
        ...

    def slots_of(self, label: int) -> Sequence[int]:
        """Return the slots that hold samples of `label`, in no particular order."""
        ...

    def largest_label(self) -> int:
        """Return the label with the most samples (the first of equals)."""
        ...
