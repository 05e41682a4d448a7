"""The last learned samples as features, so that a label that turns out to be wrong can be taken back, or a sample."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from streamlearn.core.vocabulary import NONE


class Kept(NamedTuple):
    """A learned sample: its features (1, ...), the class that they speak for (`NONE`: for none any more), and how far
    back it was learned: 1 is the last one."""

    features: torch.Tensor
    label: int
    back: int


class RecentFeatures:
    """Keeps what was learned of the last `size` samples: the very features, since another forward pass would differ in
    its last bits.

    Features are float32 on the CPU, in one tensor that is allocated with the first of them. A sample that is learned
    again counts as its last time.

    Args:
        size: samples; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0  # that were learned
        self._rows = torch.zeros(0)
        self._labels: list[int] = []  # by slot
        self._slots: OrderedDict[str, tuple[int, int]] = OrderedDict()  # slot and number, in the order of learning

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._slots

    def add(self, ids: Sequence[str], features: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in samples that were just learned; features have the shape (n, ...)."""
        if not self.size:
            return
        if not self._rows.numel():
            self._rows = torch.zeros(self.size, *features.shape[1:])
            self._labels = [NONE] * self.size
        rows = features.detach().float().cpu()
        for sample_id, row, label in zip(ids, rows, labels.tolist(), strict=True):
            before = self._slots.pop(sample_id, None)
            if before is not None:
                slot = before[0]
            elif len(self._slots) < self.size:
                slot = len(self._slots)
            else:
                slot = self._slots.popitem(last=False)[1][0]
            self._rows[slot], self._labels[slot] = row, label
            self._slots[sample_id] = slot, self.count
            self.count += 1

    def correct(self, sample_id: str, label: int) -> Kept | None:
        """Give a sample another label, and return it as it was; None where it is not kept."""
        found = self._slots.get(sample_id)
        if found is None:
            return None
        slot, number = found
        kept = Kept(self._rows[slot : slot + 1].clone(), self._labels[slot], self.count - number)
        self._labels[slot] = label
        return kept

    def forget(self, sample_id: str) -> Kept | None:
        """Keep a sample no longer, and return it as it was; None where it is not kept. What the slot held is
        overwritten."""
        kept = self.correct(sample_id, NONE)
        if kept is None:
            return None
        slot, number = self._slots.pop(sample_id)
        for other, (place, its) in self._slots.items():
            # As if it had never come: the last one moves into the hole, and what came later came one place earlier.
            self._slots[other] = slot if place == len(self._slots) else place, its - (its > number)
        self._rows[slot], self._labels[slot] = self._rows[len(self._slots)], self._labels[len(self._slots)]
        self._rows[len(self._slots)], self._labels[len(self._slots)] = 0, NONE
        self.count -= 1
        return kept

    def drop(self, label: int) -> None:
        """Note that a class's evidence was dropped: its samples speak for no class any more."""
        self._labels = [NONE if each == label else each for each in self._labels]

    def state_dict(self) -> dict[str, Any]:
        """Return the samples, in the order in which they were learned."""
        slots = [slot for slot, _ in self._slots.values()]
        return {
            "ids": list(self._slots),
            "features": self._rows[slots] if slots else self._rows[:0],
            "labels": torch.tensor([self._labels[slot] for slot in slots], dtype=torch.int32),
            "numbers": torch.tensor([number for _, number in self._slots.values()], dtype=torch.int64),
            "count": self.count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the samples of another; of too many the last."""
        ids, first = state["ids"], max(0, len(state["ids"]) - self.size)
        features, labels, numbers = state["features"], state["labels"].tolist(), state["numbers"].tolist()
        self.count = int(state["count"])
        self._slots = OrderedDict()
        self._rows = torch.zeros(self.size, *features.shape[1:]) if len(ids) and self.size else torch.zeros(0)
        self._labels = [NONE] * self.size if len(ids) else []
        for slot, at in enumerate(range(first, len(ids))):
            self._rows[slot], self._labels[slot] = features[at], labels[at]
            self._slots[ids[at]] = slot, numbers[at]
