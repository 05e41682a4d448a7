"""How often the rehearsed head is trained: as often as it is worth."""

from collections.abc import Mapping
from typing import Any

CONTENT = 0.06  # share of errors of the closed-form head that leaves nothing to look for
DIRE = 0.16  # and that calls for rehearsal with every batch
TRIAL = 200  # batches after which its gain is known
WORTH = 0.01  # gain in accuracy that is worth every batch
LEAST = 1 / 16  # what is left of it where there is no gain, since gains may come
MEMORY = 256  # samples over which errors and gain are averaged


class RehearsalSchedule:
    """Decides batch by batch, from what the closed-form head alone and both together would have answered.

    While the closed-form head errs little there is nothing to gain, and the rehearsed one costs no time. Errors on
    classes that are new say nothing: they have hardly been learned by either.
    """

    def __init__(self) -> None:
        self.errors = 0.0
        self.weight = 0.0  # of the samples behind `errors`, at most 1
        self.gain = 0.0
        self.batches = 0  # rehearsed so far
        self.phase = 0.0

    @property
    def duty(self) -> float:
        """The share of batches that is rehearsed, from 0 to 1."""
        if self.weight < 1 / 4:
            return 0.0
        wanted = min(max((self.errors / self.weight - CONTENT) / (DIRE - CONTENT), 0.0), 1.0)
        trust = 1.0 if self.batches < TRIAL else min(max(self.gain / WORTH, LEAST), 1.0)
        return wanted * trust

    def update(
        self, alone: list[bool], together: list[bool] | None, established: list[bool], *, trained: bool = True
    ) -> None:
        """Take in whether the closed-form head alone was right on each sample, and both together if both were asked."""
        for right, known in zip(alone, established, strict=True):
            if known:
                self.errors += ((not right) - self.errors) / MEMORY
                self.weight += (1 - self.weight) / MEMORY
        if together is not None:
            self.batches += trained
            for before, after in zip(alone, together, strict=True):
                self.gain += ((after - before) - self.gain) / MEMORY

    def next(self) -> bool:
        """Return whether the next batch is rehearsed."""
        self.phase += self.duty
        due = self.phase >= 1
        self.phase -= due
        return due

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and counts."""
        return {"effort": [self.errors, self.weight, self.gain, self.batches, self.phase]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's averages and counts."""
        self.errors, self.weight, self.gain, self.batches, self.phase = state["effort"]
