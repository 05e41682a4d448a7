"""What became of a batch once its events and labels were joined: the result alone. The joining is `joiner.py`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from streamlearn.core.batch import Sample
from streamlearn.core.target import Target
from streamlearn.stream.pending import Joined


class Letter(StrEnum):
    """What became of a record, as `journal.Batch.taken` has it; of an event that had come before, as a capital.

    A batch of five records: an event without a label, one with a label that is learned, one that came before, a record
    that is no JSON, and on the labels topic a label whose event waits no more, are told by "-lUdx".
    """

    UNLABELLED = "-"
    LEARNED = "l"
    PROBE = "p"
    DEAD = "d"
    WAITS = "w"  # a label whose event did not come yet
    SAME = "s"  # a label that its event has already
    CORRECTION = "c"
    EXPIRED = "x"  # a label whose event waits no more
    FORGET = "f"
    GONE = "g"  # a label that was forgotten in the batch that brought it
    AGAIN = "U"  # an event that had come before, without a label


OUTCOMES: Final[Mapping[str, str]] = {  # of a label, by its letter
    Letter.SAME: "duplicate",
    Letter.CORRECTION: "correction",
    Letter.EXPIRED: "expired",
}


class Early(NamedTuple):
    """A label that waits for its event, since `at`."""

    label: Target
    at: float


@dataclass(slots=True)
class Join:
    """What became of a batch.

    Args:
        letters: of each event and then of each label, as `journal.Batch` has them, before any sample is a probe.
        samples: events with their labels, in order.
        places: where the letter of each sample stands.
        here: samples that brought their label and were answered in this batch: the row of the answer, and the sample's.
        late: what the measures need of the other samples.
        corrections: new labels of samples that were handed out in earlier batches, by id.
        forgotten: ids that were to be forgotten; nothing of them is left here.
        outcomes: labels that became no sample, by outcome.
        expired: events that left without a label, by `ttl` or `capacity`.
        duplicates: events that had come before.
        delays: seconds from each event to its label, where that came later.
    """

    letters: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    here: list[tuple[int, int]] = field(default_factory=list)
    late: list[Joined] = field(default_factory=list)
    corrections: dict[str, Target] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    expired: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def told(self) -> list[tuple[int, Target]]:
        """The rows of `here`, each with its label."""
        return [(row, self.samples[at].label) for row, at in self.here]

    def hand_out(self, sample: Sample, row: int | None = None) -> None:
        """Add a sample whose letter comes next; `row` is that of its answer, None where it waited."""
        if row is not None:
            self.here.append((row, len(self.samples)))
        self.places.append(len(self.letters))
        self.samples.append(sample)

    def correct(self, event_id: str, label: Target) -> None:
        """Give a sample another label: one of this batch is not learned yet, others went wherever they went."""
        row = max((row for row, sample in enumerate(self.samples) if sample.id == event_id), default=None)
        if row is None:
            self.corrections[event_id] = label
            return
        self.samples[row] = self.samples[row]._replace(label=label)
        late = max((at for at, each in enumerate(self.late) if each.sample.id == event_id), default=None)
        if late is not None:
            self.late[late] = self.late[late]._replace(sample=self.samples[row])

    def withdraw(self, event_id: str) -> int:
        """Take back the samples of an id; return how many there were: several where ids may repeat."""
        self.corrections.pop(event_id, None)
        rows = [row for row, sample in enumerate(self.samples) if sample.id != event_id]  # that stay
        if len(rows) == len(self.samples):
            return 0
        new = {row: number for number, row in enumerate(rows)}
        for row, place in enumerate(self.places):
            if row not in new:
                self.letters[place] = Letter.GONE if self.letters[place].islower() else Letter.GONE.upper()
        gone = len(self.samples) - len(rows)
        self.samples, self.places = [self.samples[row] for row in rows], [self.places[row] for row in rows]
        self.here = [(answer, new[row]) for answer, row in self.here if row in new]
        self.late = [each for each in self.late if each.sample.id != event_id]
        return gone
