"""What waits to be learned, until it is a batch."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from streamlearn.core.batch import Sample
from streamlearn.core.target import Target, as_target


class SampleQueue:
    """Two lines, in the order in which things came: samples, and events without a label for strategies that learn those
    too. Batches are cut by count, so that what is learned together does not depend on when it was polled.

    With batches of two:

        queue.add([a, b, c])     # samples: a b c
        queue.next_batch()       # a b; then None, since c alone is no batch
        queue.flush()            # c

    Args:
        size: of a batch.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.samples: list[Sample] = []
        self.unlabelled: list[Sample] = []  # their labels mean nothing

    def add(self, samples: Sequence[Sample]) -> None:
        """Take samples in; an event that waited without its label waits no longer."""
        self.samples.extend(samples)
        if self.unlabelled:
            labelled = {sample.id for sample in samples}
            self.unlabelled = [each for each in self.unlabelled if each.id not in labelled]

    def add_unlabelled(self, events: Sequence[Sample]) -> None:
        """Take in events without a label."""
        self.unlabelled.extend(events)

    def next_batch(self) -> list[Sample] | None:
        """Take out the oldest samples, if they are a batch."""
        if len(self.samples) < self.size:
            return None
        batch, self.samples = self.samples[: self.size], self.samples[self.size :]
        return batch

    def next_unlabelled(self) -> list[Sample] | None:
        """Take out the oldest events without a label, if they are a batch."""
        if len(self.unlabelled) < self.size:
            return None
        batch, self.unlabelled = self.unlabelled[: self.size], self.unlabelled[self.size :]
        return batch

    def flush(self) -> list[Sample]:
        """Take out the samples, though they are no batch. Events without a label go on waiting."""
        batch, self.samples = self.samples, []
        return batch

    def drop(self) -> int:
        """Let go of everything; return how many samples that were."""
        self.unlabelled = []
        return len(self.flush())

    def relabel(self, sample_id: str, label: Target) -> bool:
        """Give a sample another label; return whether it is here."""
        for at, sample in enumerate(self.samples):
            if sample.id == sample_id:
                self.samples[at] = sample._replace(label=label)
                return True
        return False

    def remove(self, ids: Collection[str]) -> int:
        """Let go of what has one of these ids; return how many samples that were."""
        before = len(self.samples)
        self.samples = [sample for sample in self.samples if sample.id not in ids]
        self.unlabelled = [event for event in self.unlabelled if event.id not in ids]
        return before - len(self.samples)

    def state_dict(self) -> dict[str, list[list[Any]]]:
        """Return both lines, as JSON values: a row is id, label and token ids."""
        return {"waiting": _rows(self.samples), "heard": _rows(self.unlabelled)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's lines."""
        self.samples, self.unlabelled = _samples(state["waiting"]), _samples(state["heard"])


def _rows(samples: Sequence[Sample]) -> list[list[Any]]:
    return [[sample.id, sample.label, sample.tokens.tolist()] for sample in samples]


def _samples(rows: Sequence[Sequence[Any]]) -> list[Sample]:
    return [Sample(sample_id, np.array(tokens, dtype=np.int64), as_target(label)) for sample_id, label, tokens in rows]
