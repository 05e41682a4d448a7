"""Finds classes whose evidence has become wrong: what they meant, the stream now calls something else."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

WRONG = 0.9  # share of a class's answers that are wrong once its meaning has changed
THRESHOLD = math.log(1e6)  # so many to one that it has
ESTABLISHED = 20  # labels after which a class is known well enough to be believed


class ClassDrift:
    """One sequential test for each true class: Page's cumulative sum of log-likelihood ratios ("Continuous inspection
    schemes", Biometrika 1954), of `WRONG` against the share of its samples that was answered wrong so far. That
    counts the first ones too: a class that was always taken for another has not changed.

    What its samples were taken for in a run of errors is what has become wrong: those texts go by another name now. A
    class that has just arrived is often taken for an old one, and that says nothing against the old one: only classes
    that are established count, on either side.
    """

    def __init__(self) -> None:
        self.seen: list[int] = []  # labels of each class, also those that do not count here
        self.sums: list[float] = []
        self.samples: list[int] = []
        self.errors: list[int] = []
        self.taken_for: list[list[int]] = []  # in the run of errors that is on

    def update(self, answered: Sequence[int], true: Sequence[int]) -> list[int]:
        """Take in answers in their order; return the classes whose evidence has become wrong.

        Args:
            answered: the class that was answered for each sample before it was learned.
            true: its label.
        """
        missing = max([*answered, *true], default=-1) + 1 - len(self.sums)
        self.seen.extend([0] * missing)
        self.sums.extend([0.0] * missing)
        self.samples.extend([0] * missing)
        self.errors.extend([0] * missing)
        self.taken_for.extend([] for _ in range(missing))
        stale = []
        for answer, label in zip(answered, true, strict=True):
            self.seen[label] += 1
            wrong = answer != label
            expected = min(max((self.errors[label] + 1) / (self.samples[label] + 10), 0.05), 0.95)
            self.samples[label] += 1
            self.errors[label] += wrong
            if self.seen[label] <= ESTABLISHED or self.seen[answer] <= ESTABLISHED:
                continue
            gain = math.log(WRONG / expected) if wrong else math.log((1 - WRONG) / (1 - expected))
            self.sums[label] = max(0.0, self.sums[label] + gain)
            self.taken_for[label] = [*self.taken_for[label], answer] if wrong else self.taken_for[label]
            if self.sums[label] == 0:
                self.taken_for[label] = []
            elif self.sums[label] > THRESHOLD:
                stale.append(max(self.taken_for[label], key=self.taken_for[label].count))
                self.sums[label], self.taken_for[label] = 0.0, []
                self.samples[label], self.errors[label] = 0, 0
        return stale

    def seen_of(self, label: int) -> int:
        """Return how many labels of a class came so far."""
        return self.seen[label] if label < len(self.seen) else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts."""
        return {
            "labels_seen": list(self.seen),
            "sums_of_errors": list(self.sums),
            "samples": list(self.samples),
            "errors": list(self.errors),
            "taken_for": [list(each) for each in self.taken_for],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's sums and counts."""
        self.seen = list(state["labels_seen"])
        self.sums, self.samples = list(state["sums_of_errors"]), list(state["samples"])
        self.errors, self.taken_for = list(state["errors"]), [list(each) for each in state["taken_for"]]
