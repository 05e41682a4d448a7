"""The replay memory: a fixed number of samples of the past, in columns, that the learner rehearses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from streamlearn.batch import Batch, IntArray, Tokens
from streamlearn.memory.policy import Policy
from streamlearn.registry import ComponentSpec, Config


class MemoryConfig(Config):
    """How much of the past is kept for rehearsal, and which of it."""

    capacity: int = Field(1000, ge=1, le=10_000_000, description="Samples kept; their columns are allocated at start.")
    policy: ComponentSpec = Field(
        ComponentSpec(name="reservoir"),
        description="reservoir: every sample of the stream is equally likely to be kept. "
        "class-balanced: classes share the memory as evenly as the stream allows.",
    )


class ReplayMemory:
    """Stores at most `capacity` samples; inserting, removing and looking up by id take constant time.

    All columns are allocated once, so the memory's size is known at start (`nbytes`). Slots 0 to len - 1 are in use:
    a removed sample's slot is filled with the last one, so that a uniform sample is one vectorised gather.

    Args:
        capacity: how many samples fit.
        width: the longest text, in tokens.
        vocabulary_size: token ids are below it; they are stored in the smallest integer type that holds it.
        policy: decides what gives way once the memory is full.
        outputs: numbers a sample's stored output has (0: none are stored), kept as float32.
    """

    def __init__(self, capacity: int, width: int, vocabulary_size: int, policy: Policy, *, outputs: int = 0) -> None:
        self.capacity = capacity
        self.policy = policy
        self.seen = 0
        self.seen_by_label: dict[int, int] = {}
        self.width = width
        self._tokens: IntArray = np.zeros((capacity, width), np.min_scalar_type(vocabulary_size - 1))
        self._lengths: IntArray = np.zeros(capacity, np.min_scalar_type(width))
        self._labels: IntArray = np.zeros(capacity, np.int32)
        self._place: IntArray = np.zeros(capacity, np.int32)  # where a slot stands in its class's list of slots
        self._outputs: npt.NDArray[np.float32] = np.zeros((capacity, outputs), np.float32)
        self._ids: list[str] = [""] * capacity
        self._slot_of: dict[str, int] = {}
        self._slots: list[list[int]] = []  # by label
        self._counts: IntArray = np.zeros(0, np.int64)  # by label, for largest_label
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._slot_of

    @property
    def nbytes(self) -> int:
        """Bytes of the columns: constant from the start on. Ids are strings on top, of at most 256 characters."""
        columns = (self._tokens, self._lengths, self._labels, self._place, self._outputs)
        return sum(column.nbytes for column in columns)

    def counts(self) -> dict[int, int]:
        """Return how many samples each label has in the memory."""
        return {label: len(slots) for label, slots in enumerate(self._slots) if slots}

    def slots_of(self, label: int) -> Sequence[int]:
        """Return the slots that hold samples of `label`, in no particular order."""
        return self._slots[label] if label < len(self._slots) else ()

    def largest_label(self) -> int:
        """Return the label with the most samples (the first of equals): one vectorised pass over the labels."""
        return int(self._counts.argmax())

    def insert(self, batch: Batch, rng: np.random.Generator, outputs: npt.NDArray[np.float32] | None = None) -> None:
        """Offer the batch's samples one after the other; the policy decides what stays.

        A sample whose id is already stored replaces the stored one in place and is not counted again.
        """
        for row, (sample_id, label) in enumerate(zip(batch.ids, batch.labels.tolist(), strict=True)):
            slot = self._slot_of.get(sample_id)
            if slot is None:
                self.seen += 1
                self.seen_by_label[label] = self.seen_by_label.get(label, 0) + 1
                slot = self._size if self._size < self.capacity else self.policy.slot(label, self, rng)
                if slot is None:
                    continue
            self._write(slot, sample_id, label, batch.tokens, row)
            if outputs is not None:
                self._outputs[slot] = outputs[row]

    def sample(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw min(size, len) samples, uniformly and without replacement."""
        return self.gather(rng.choice(self._size, min(size, self._size), replace=False))

    def gather(self, slots: IntArray) -> Batch:
        """Return the samples of these slots, as a batch of copies."""
        lengths = self._lengths[slots].astype(np.int64)
        width = int(lengths.max(initial=1))
        tokens = Tokens(self._tokens[slots, :width].astype(np.int64), lengths)
        return Batch(tokens, self._labels[slots].astype(np.int64), [self._ids[slot] for slot in slots.tolist()])

    def remove(self, sample_id: str) -> bool:
        """Forget one sample, if it is there. What the slot held is overwritten."""
        slot = self._slot_of.get(sample_id)
        if slot is None:
            return False
        self._unlink(slot)
        last = self._size - 1
        if slot != last:  # the last sample moves into the hole
            label = int(self._labels[last])
            self._tokens[slot], self._lengths[slot] = self._tokens[last], self._lengths[last]
            self._labels[slot], self._outputs[slot] = label, self._outputs[last]
            self._place[slot] = self._place[last]
            self._slots[label][int(self._place[last])] = slot
            self._ids[slot] = self._ids[last]
            self._slot_of[self._ids[slot]] = slot
        self._tokens[last], self._lengths[last], self._ids[last], self._outputs[last] = 0, 0, "", 0
        self._size -= 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return all that the memory knows, as tensors (copies) and JSON values."""
        n = self._size
        return {
            "tokens": torch.from_numpy(self._tokens[:n].astype(np.int32)),
            "lengths": torch.from_numpy(self._lengths[:n].astype(np.int32)),
            "labels": torch.from_numpy(self._labels[:n].copy()),
            "place": torch.from_numpy(self._place[:n].copy()),
            "outputs": torch.from_numpy(self._outputs[:n].copy()),
            "ids": self._ids[:n],
            "seen": self.seen,
            "seen_by_label": [[label, count] for label, count in sorted(self.seen_by_label.items())],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that a memory of the same capacity and width gave."""
        n = len(state["ids"])
        assert n <= self.capacity, f"{n} samples do not fit into {self.capacity}"
        self._size, self.seen = n, int(state["seen"])
        self.seen_by_label = {int(label): int(count) for label, count in state["seen_by_label"]}
        for column, name in (
            (self._tokens, "tokens"),
            (self._lengths, "lengths"),
            (self._labels, "labels"),
            (self._place, "place"),
            (self._outputs, "outputs"),
        ):
            column[:n] = state[name].numpy()
            column[n:] = 0
        self._ids = [*state["ids"], *[""] * (self.capacity - n)]
        self._slot_of = {sample_id: slot for slot, sample_id in enumerate(self._ids[:n])}
        counts = np.bincount(self._labels[:n], minlength=max(self.seen_by_label, default=-1) + 1)
        self._counts = counts.astype(np.int64)
        self._slots = [[0] * int(count) for count in counts]
        for slot in range(n):
            self._slots[int(self._labels[slot])][int(self._place[slot])] = slot

    def _write(self, slot: int, sample_id: str, label: int, tokens: Tokens, row: int) -> None:
        if slot == self._size:
            self._size += 1
        else:
            self._unlink(slot)
        length = min(int(tokens.lengths[row]), self._tokens.shape[1])
        self._tokens[slot, :length] = tokens.ids[row, :length]
        self._tokens[slot, length:] = 0
        self._lengths[slot], self._labels[slot] = length, label
        self._ids[slot] = sample_id
        self._slot_of[sample_id] = slot
        if label >= len(self._slots):
            self._slots.extend([] for _ in range(label + 1 - len(self._slots)))
            self._counts = np.concatenate([self._counts, np.zeros(len(self._slots) - len(self._counts), np.int64)])
        self._place[slot] = len(self._slots[label])
        self._slots[label].append(slot)
        self._counts[label] += 1

    def _unlink(self, slot: int) -> None:
        """Take a slot out of the indexes: its class's list (the last of the list moves into the hole) and its id."""
        label, place = int(self._labels[slot]), int(self._place[slot])
        slots = self._slots[label]
        slots[place] = slots[-1]
        self._place[slots[place]] = place
        slots.pop()
        self._counts[label] -= 1
        del self._slot_of[self._ids[slot]]
