"""Cohorts of probes: labelled events of one label that came one after the other, and how they were answered."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FOLDS = 5  # of a cohort; as many consecutive evaluations see each of its probes once
ENOUGH = 20  # probes that a complete cohort needs
NEVER, WRONG, RIGHT = -1, 0, 1  # what a probe's evaluation gave

Score = tuple[float, int]  # answered right, or the sum of accuracies where an answer may be half right; and all


class Result(NamedTuple):
    """What one evaluation of a label gave; all results together give the figures again (`tests/evaluation/offline.py`).

    `cohort` numbers the label's cohorts from 0; `evaluation` counts those of the complete cohort from 0, and is -1
    while the cohort is being collected; `correct` of `total` probes were answered right.
    """

    label: str
    cohort: int
    evaluation: int
    correct: float
    total: int


class Means(NamedTuple):
    """Accuracies of a cohort over five consecutive evaluations: the first such mean, the best and the last one."""

    first: float
    best: float
    last: float


@dataclass(slots=True, eq=False)
class Cohort:
    """Probes of one label, by the slots that hold them; once complete, it takes no more.

    `slots` is in order of arrival. In a complete cohort -1 stands where a probe was removed, so that no other probe
    changes its fold. `turn` is the next fold; while incomplete, where the next evaluation begins.
    """

    number: int
    slots: list[int] = field(default_factory=list)
    complete: bool = False
    turn: int = 0
    evaluations: int = 0
    recent: list[Score] = field(default_factory=list)
    means: Means | None = None

    @property
    def held(self) -> list[int]:
        """The slots that hold a probe, by arrival."""
        return [slot for slot in self.slots if slot != NEVER]

    def close(self) -> None:
        """Take no more: the cohort is complete, and its history begins."""
        self.complete, self.turn = True, 0

    def next(self, size: int) -> tuple[list[int], int]:
        """Return the slots of the next evaluation, and the turn after it.

        That is a fold; while the cohort is incomplete, at most `size` probes of it in rotation.
        """
        if self.complete:
            return [slot for slot in self.slots[self.turn :: FOLDS] if slot != NEVER], (self.turn + 1) % FOLDS
        n = len(self.slots)
        taken = [self.slots[(self.turn + step) % n] for step in range(min(size, n))]
        return taken, (self.turn + len(taken)) % n

    def score(self, score: Score) -> None:
        """Take in an evaluation of the complete cohort."""
        self.evaluations += 1
        self.recent = [*self.recent[1 - FOLDS :], score]
        if len(self.recent) == FOLDS:
            mean = share(self.recent)
            first, best = (self.means.first, self.means.best) if self.means else (mean, mean)
            self.means = Means(first, max(best, mean), mean)

    def state_dict(self) -> dict[str, Any]:
        """Return all but which slots there are, as JSON values."""
        return {
            "number": self.number,
            "held": [int(slot != NEVER) for slot in self.slots],
            "complete": self.complete,
            "turn": self.turn,
            "evaluations": self.evaluations,
            "recent": [list(score) for score in self.recent],
            "means": list(self.means) if self.means else None,
        }

    @classmethod
    def of(cls, state: dict[str, Any], slots: Iterator[int]) -> "Cohort":
        """Return the cohort of a state, its probes in the next of `slots`."""
        return cls(
            number=int(state["number"]),
            slots=[next(slots) if held else NEVER for held in state["held"]],
            complete=bool(state["complete"]),
            turn=int(state["turn"]),
            evaluations=int(state["evaluations"]),
            recent=_scores(state["recent"]),
            means=Means(*state["means"]) if state["means"] else None,
        )


@dataclass(slots=True, eq=False)
class LabelProbes:
    """The cohorts of one label, and what is known of the label as a whole.

    Args:
        seen: labelled events.
        completed_at: `seen` when the newest cohort was completed.
        numbers: cohorts so far, those that are gone too.
        turn: which cohort is next; they take turns.
        at: labelled events of all labels at its last evaluation.
        queued: it is in the rotation of evaluations.
        refused: a probe of it found no room, and it has none.
        first: accuracy of its first evaluation, minus chance.
        recent: its last five evaluations, whichever the cohort.
        cohorts: oldest first.
    """

    seen: int = 0
    completed_at: int = 0
    numbers: int = 0
    turn: int = 0
    at: int = 0
    queued: bool = False
    refused: bool = False
    first: float | None = None
    recent: list[Score] = field(default_factory=list)
    cohorts: list[Cohort] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(cohort.held) for cohort in list(self.cohorts))

    def measured(self) -> list[tuple[int, Means]]:
        """Return size and means of each complete cohort that has some."""
        cohorts = [(len(cohort.held), cohort.means) for cohort in list(self.cohorts) if cohort.complete]
        return [(size, means) for size, means in cohorts if means is not None]

    def number(self) -> int:
        """Return the number of the next cohort."""
        self.numbers += 1
        return self.numbers - 1

    def without(self, slot: int) -> None:
        """Remove the probe in `slot`.

        A complete cohort gets smaller and keeps its history, down to 20 probes. What is left of a smaller one is the
        beginning of a new cohort, with a new history.
        """
        place, cohort = next((n, each) for n, each in enumerate(self.cohorts) if slot in each.slots)
        slots = [NEVER if each == slot else each for each in cohort.slots]
        left = [each for each in slots if each != NEVER]
        if not cohort.complete:
            cohort.slots, cohort.turn = left, cohort.turn % max(len(left), 1)
        elif len(left) >= ENOUGH:
            cohort.slots = slots
        else:
            self.cohorts[place] = Cohort(self.number(), left)

    def score(self, score: Score, known: int) -> None:
        """Take in an evaluation of any cohort; `known` is how many labels are known now."""
        self.recent = [*self.recent[1 - FOLDS :], score]
        if self.first is None:
            self.first = score[0] / score[1] - 1 / known

    def state_dict(self) -> dict[str, Any]:
        """Return all but which slots there are, as JSON values."""
        return {
            "seen": self.seen,
            "completed_at": self.completed_at,
            "numbers": self.numbers,
            "turn": self.turn,
            "at": self.at,
            "queued": self.queued,
            "refused": self.refused,
            "first": self.first,
            "recent": [list(score) for score in self.recent],
            "cohorts": [cohort.state_dict() for cohort in self.cohorts],
        }

    @classmethod
    def of(cls, state: dict[str, Any], slots: Iterator[int]) -> "LabelProbes":
        """Return the label of a state, its probes in the next of `slots`."""
        cohorts = [Cohort.of(each, slots) for each in state["cohorts"]]
        return cls(
            seen=int(state["seen"]),
            completed_at=int(state["completed_at"]),
            numbers=int(state["numbers"]),
            turn=int(state["turn"]),
            at=int(state["at"]),
            queued=bool(state["queued"]),
            refused=bool(state["refused"]),
            first=state["first"],
            recent=_scores(state["recent"]),
            cohorts=cohorts,
        )


def share(scores: list[Score]) -> float:
    """Return the share of right answers in all the evaluations together."""
    return sum(right for right, _ in scores) / sum(total for _, total in scores)


def _scores(state: list[list[float]]) -> list[Score]:
    return [(right, int(total)) for right, total in state]
