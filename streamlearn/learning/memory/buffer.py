"""The replay memory: a fixed number of samples of the past, in columns, that the learner rehearses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import Batch, IntArray, Tokens
from streamlearn.core.target import Column
from streamlearn.learning.memory.policy import Policy
from streamlearn.learning.memory.retrieval import Retrieval, Uniform


class ReplayMemory:
    """Stores at most `capacity` samples; removing and looking up by id take constant time, and so does inserting, but
    for what the policy does.

    All columns but the outputs' are allocated once, so the memory's size is known at start (`nbytes`). Stored outputs
    widen with what is stored, in powers of two, up to `max_outputs`. Slots 0 to len - 1 are in use: a removed sample's
    slot is filled with the last one, so that a uniform sample is one vectorised gather.

    Args:
        capacity: how many samples fit.
        width: the longest text, in tokens.
        vocabulary_size: token ids are below it; they are stored in the smallest integer type that holds it.
        policy: decides what gives way once the memory is full.
        retrieval: decides what is rehearsed.
        max_outputs: numbers of a sample's output that are kept at most; what lies beyond is not.
        column: how encoded targets lie in the memory; None where a sample's group says all of its target.
    """

    def __init__(
        self, capacity: int, width: int, vocabulary_size: int, policy: Policy, retrieval: Retrieval | None = None,
        *, max_outputs: int = 10_000, column: Column | None = None,
    ) -> None:  # fmt: skip
        self.capacity = capacity
        self.policy = policy
        self.retrieval = retrieval if retrieval is not None else Uniform()
        self.max_outputs = max_outputs
        self.seen = 0
        self.seen_by_label: dict[int, int] = {}
        self.width = width
        self._tokens: IntArray = np.zeros((capacity, width), np.min_scalar_type(vocabulary_size - 1))
        self._lengths: IntArray = np.zeros(capacity, np.min_scalar_type(width))
        self._labels: IntArray = np.zeros(capacity, np.int32)  # the numbers of groups
        self._targets = None if column is None else np.zeros((capacity, *column.shape), column.dtype)
        self._place: IntArray = np.zeros(capacity, np.int32)  # where a slot stands in its class's list of slots
        self._order: IntArray = np.zeros(capacity, np.int64)  # `seen` when the sample was stored
        self._losses: npt.NDArray[np.float32] = np.full(capacity, -1, np.float32)  # below 0: not known
        self._outputs: npt.NDArray[np.float32] = np.zeros((capacity, 0), np.float32)  # nan: not known then
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
        """Bytes of the columns: constant from the start on, but for stored outputs. Ids are strings on top, of at most
        256 characters."""
        columns = [
            self._tokens, self._lengths, self._labels, self._place, self._order, self._losses, self._outputs
        ]  # fmt: skip
        if self._targets is not None:
            columns.append(self._targets)
        return sum(column.nbytes for column in columns)

    @property
    def labels(self) -> IntArray:
        """The class of each stored sample: (len,)."""
        return self._labels[: self._size]

    @property
    def order(self) -> IntArray:
        """When each was stored, (len,): a smaller number is older."""
        return self._order[: self._size]

    @property
    def losses(self) -> npt.NDArray[np.float32]:
        """The loss of each when the model last saw it while learning, (len,); below 0 where that is not known."""
        return self._losses[: self._size]

    @property
    def class_sizes(self) -> IntArray:
        """How many stored samples each label has, by its number."""
        return self._counts

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

        Args:
            batch: the samples.
            rng: for the policy.
            outputs: the model's scores of each, (n, classes), to be stored with it.
        """
        if outputs is not None:
            self._widen(outputs.shape[1])
        for row, (sample_id, label) in enumerate(zip(batch.ids, batch.group_numbers.tolist(), strict=True)):
            slot = self._slot_of.get(sample_id)
            if slot is None:
                self.seen += 1
                self.seen_by_label[label] = self.seen_by_label.get(label, 0) + 1
                slot = self._size if self._size < self.capacity else self.policy.slot(label, self, rng)
                if slot is None:
                    continue
                self._order[slot] = self.seen
            self._write(slot, sample_id, label, batch.tokens, row)
            if self._targets is not None:
                self._targets[slot] = batch.labels[row]
            if outputs is not None:
                kept = outputs[row, : self.max_outputs]
                self._outputs[slot, : len(kept)] = np.where(np.isfinite(kept), kept, np.nan)

    def relabel(self, sample_id: str, label: int, target: IntArray | None = None) -> bool:
        """Give a stored sample another label, and return whether it is stored; what was said of it stays.

        Args:
            sample_id: of the sample.
            label: the number of its group.
            target: as the task encodes it, where the memory has a column for it.
        """
        slot = self._slot_of.get(sample_id)
        if slot is None:
            return False
        if self._targets is not None:
            self._targets[slot], self._losses[slot] = target, -1
        old = int(self._labels[slot])
        if old != label:
            self._unlink(slot)
            self._slot_of[sample_id], self._losses[slot] = slot, -1
            self._link(slot, label)
            if self.seen_by_label.get(old):  # 0 where it was stored again under another label than it was counted
                self.seen_by_label[old] -= 1
            self.seen_by_label[label] = self.seen_by_label.get(label, 0) + 1
        return True

    def note(self, losses: Mapping[str, float]) -> None:
        """Keep the newest losses of stored samples, by id; what is not stored is passed over."""
        for sample_id, loss in losses.items():
            slot = self._slot_of.get(sample_id)
            if slot is not None:
                self._losses[slot] = loss

    def sample(self, size: int, rng: np.random.Generator, labels: IntArray | None = None) -> Batch:
        """Draw at most `size` samples without replacement, as the retrieval chooses beside new ones of `labels`."""
        return self.gather(self.retrieval.slots(size, self, np.zeros(0, int) if labels is None else labels, rng))

    def gather(self, slots: IntArray) -> Batch:
        """Return the samples of these slots, as a batch of copies."""
        lengths = self._lengths[slots].astype(np.int64)
        width = int(lengths.max(initial=1))
        tokens = Tokens(self._tokens[slots, :width].astype(np.int64), lengths)
        outputs = self._outputs[slots] if self._outputs.shape[1] else None
        ids, groups = [self._ids[slot] for slot in slots.tolist()], self._labels[slots].astype(np.int64)
        if self._targets is None:
            return Batch(tokens, groups, ids, outputs)
        return Batch(tokens, self._targets[slots], ids, outputs, groups)

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
            if self._targets is not None:
                self._targets[slot] = self._targets[last]
            self._order[slot], self._losses[slot] = self._order[last], self._losses[last]
            self._place[slot] = self._place[last]
            self._slots[label][int(self._place[last])] = slot
            self._ids[slot] = self._ids[last]
            self._slot_of[self._ids[slot]] = slot
        self._tokens[last], self._lengths[last], self._ids[last], self._outputs[last] = 0, 0, "", np.nan
        self._losses[last] = -1
        self._size -= 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return all that the memory knows, as tensors (copies) and JSON values."""
        n = self._size
        return {
            "tokens": torch.from_numpy(self._tokens[:n].astype(np.int32)),
            "lengths": torch.from_numpy(self._lengths[:n].astype(np.int32)),
            "labels": torch.from_numpy(self._labels[:n].copy()),
            **({} if self._targets is None else {"targets": torch.from_numpy(self._targets[:n].copy())}),
            "place": torch.from_numpy(self._place[:n].copy()),
            "order": torch.from_numpy(self._order[:n].copy()),
            "losses": torch.from_numpy(self._losses[:n].copy()),
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
        self._outputs = np.full((self.capacity, state["outputs"].shape[1]), np.nan, np.float32)
        for column, name, empty in (
            (self._tokens, "tokens", 0),
            (self._lengths, "lengths", 0),
            (self._labels, "labels", 0),
            (self._place, "place", 0),
            (self._order, "order", 0),
            (self._losses, "losses", -1),
            (self._outputs, "outputs", np.nan),
        ):
            column[:n] = state[name].numpy()
            column[n:] = empty
        if self._targets is not None:
            self._targets[:n], self._targets[n:] = state["targets"].numpy(), 0
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
        self._lengths[slot] = length
        self._losses[slot], self._outputs[slot] = -1, np.nan
        self._ids[slot] = sample_id
        self._slot_of[sample_id] = slot
        self._link(slot, label)

    def _link(self, slot: int, label: int) -> None:
        """Put a slot into its class's list."""
        self._labels[slot] = label
        if label >= len(self._slots):
            self._slots.extend([] for _ in range(label + 1 - len(self._slots)))
            self._counts = np.concatenate([self._counts, np.zeros(len(self._slots) - len(self._counts), np.int64)])
        self._place[slot] = len(self._slots[label])
        self._slots[label].append(slot)
        self._counts[label] += 1

    def _widen(self, outputs: int) -> None:
        """Make room for outputs of so many numbers."""
        if min(outputs, self.max_outputs) > self._outputs.shape[1]:
            width = min(1 << max(4, (outputs - 1).bit_length()), self.max_outputs)
            wider = np.full((self.capacity, width), np.nan, np.float32)
            wider[:, : self._outputs.shape[1]] = self._outputs
            self._outputs = wider

    def _unlink(self, slot: int) -> None:
        """Take a slot out of the indexes: its class's list (the last of the list moves into the hole) and its id."""
        label, place = int(self._labels[slot]), int(self._place[slot])
        slots = self._slots[label]
        slots[place] = slots[-1]
        self._place[slots[place]] = place
        slots.pop()
        self._counts[label] -= 1
        del self._slot_of[self._ids[slot]]
