"""The examiner: asks the served model about the test set, of which nothing is ever learned."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.commands.evaluate.figures import Flags, Names, Point
from streamlearn.commands.evaluate.robustness import misspelt
from streamlearn.commands.evaluate.streams import Labelled
from streamlearn.core.batch import IntArray
from streamlearn.serving.predictor import ServedModel

CHUNK = 512  # samples answered at once: between two of them an interruption is noticed
STEPS = (1, 2, 3, 5, 8, 12, 20)  # labels of a new class after which its test samples are asked
ENOUGH = 0.8  # the recall at which a class counts as known


class StoppedError(Exception):
    """Somebody interrupted: what was begun is of no use."""


class Exam(NamedTuple):
    """A test set: n texts with their labels, and the same texts misspelt."""

    texts: Sequence[str]
    truth: Names
    misspelt: Sequence[str]

    def tasks(self, group_of: Mapping[str, int]) -> npt.NDArray[np.int64]:
        """Return the group of each sample's class; -1 where it is in none."""
        return np.array([group_of.get(label, -1) for label in self.truth.tolist()], np.int64)


def exam(labelled: Labelled) -> Exam:
    """Make the test set of a file's rows that have a text and a label."""
    kept = [(row.text, row.label) for row in labelled.rows if row.text is not None and row.label is not None]
    texts = [text for text, _ in kept]
    return Exam(texts, np.array([label for _, label in kept], object), misspelt(texts))


class Examiner:
    """Asks one service's model.

    Args:
        served: answers with the served weights.
        exam: the test set.
        is_stopped: whether somebody interrupted.
    """

    def __init__(self, served: ServedModel, exam: Exam, is_stopped: Callable[[], bool]) -> None:
        self.served, self.exam, self._is_stopped = served, exam, is_stopped
        self.points: list[Point] = []
        self.needed: dict[str, int | None] = {}
        self._asked: Counter[str] = Counter()  # by label: after how many labels it was asked last
        self._tokens, _ = served.model.tokenize(exam.texts)
        self._rows = {label: np.flatnonzero(exam.truth == label) for label in dict.fromkeys(exam.truth.tolist())}

    def answers(self) -> Names:
        """Return the label that the model gives each test sample; None where it abstains."""
        return self._answered(self._tokens)

    def misspelt_right(self) -> Flags:
        """Return which of the misspelt test samples are answered right."""
        tokens, _ = self.served.model.tokenize(self.exam.misspelt)
        found: Flags = self._answered(tokens) == self.exam.truth
        return found

    def right(self) -> Flags:
        """Return which test samples are answered right."""
        found: Flags = self.answers() == self.exam.truth
        return found

    def look(self, events: int, come: Collection[str]) -> None:
        """Add a point: after so many events, of which these labels had come."""
        self.add(events, come, self.right())

    def add(self, events: int, come: Collection[str], right: Flags) -> None:
        """Add a point whose answers are there already."""
        known = set(come)
        self.points.append(Point(events, right, np.array([label in known for label in self.exam.truth.tolist()], bool)))

    def watch(self, label: str) -> None:
        """Find out how many labels this class needs, from now on; a class without test samples is not looked at."""
        if label in self._rows:
            self.needed[label] = None

    def follow(self, learned: Mapping[str, int]) -> None:
        """Ask the test samples of each watched class that has passed another step, given its labels learned so far."""
        for label, needed in list(self.needed.items()):
            count = learned.get(label, 0)
            passed = any(self._asked[label] < step <= count for step in STEPS)
            if needed is not None or not passed:
                continue
            self._asked[label] = count
            right = self._answered([self._tokens[row] for row in self._rows[label]]) == label
            if right.mean() >= ENOUGH:
                self.needed[label] = count

    def _answered(self, tokens: Sequence[IntArray]) -> Names:
        """Answer texts that were cut into tokens; None where the model abstains.

        Raises:
            StoppedError: somebody interrupted.
        """
        served, found = self.served, np.full(len(tokens), None, object)
        if not served.model.trained:
            return found
        for start in range(0, len(tokens), CHUNK):
            if self._is_stopped():
                raise StoppedError
            found[start : start + CHUNK] = served.answer(tokens[start : start + CHUNK]).named()
        return found
