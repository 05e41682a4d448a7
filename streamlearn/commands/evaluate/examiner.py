"""The examiner: asks the served model about the test set, of which nothing is ever learned."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.commands.evaluate.figures import Names, Point, Shares
from streamlearn.commands.evaluate.robustness import misspelt
from streamlearn.commands.evaluate.streams import Labelled
from streamlearn.core.batch import IntArray
from streamlearn.core.target import Target
from streamlearn.serving.predictor import ServedModel

CHUNK = 512  # samples answered at once: between two of them an interruption is noticed
STEPS = (1, 2, 3, 5, 8, 12, 20)  # labels of a new class after which its test samples are asked
ENOUGH = 0.8  # the recall at which a class counts as known


class StoppedError(Exception):
    """Somebody interrupted: what was begun is of no use."""


class Exam(NamedTuple):
    """A test set: n texts with what their labels mean, and the same texts misspelt."""

    texts: Sequence[str]
    truth: Names
    misspelt: Sequence[str]


def exam(labelled: Labelled) -> Exam:
    """Make the test set of a file's rows that have a text and a label."""
    kept = [(row.text, row.label) for row in labelled.rows if row.text is not None and row.label is not None]
    texts = [text for text, _ in kept]
    return Exam(texts, _column([label for _, label in kept]), misspelt(texts))


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
        self._groups = [served.task.group(target) for target in exam.truth.tolist()]
        groups = np.array(self._groups, object)
        self._rows = {group: np.flatnonzero(groups == group) for group in dict.fromkeys(self._groups)}

    def tasks(self, task_of: Mapping[str, int]) -> npt.NDArray[np.int64]:
        """Return the task of each sample, given that of each group; -1 where it is in none."""
        return np.array([task_of.get(group, -1) for group in self._groups], np.int64)

    def answers(self) -> Names:
        """Return what the model says of each test sample, such as its label; None where it abstains."""
        return self._answered(self._tokens, self.exam.truth)

    def misspelt_right(self) -> Shares:
        """Return how right the answer to each misspelt test sample is."""
        tokens, _ = self.served.model.tokenize(self.exam.misspelt)
        return self.right(self._answered(tokens, self.exam.truth))

    def right(self, answers: Names | None = None) -> Shares:
        """Return how right each answer is: 1 minus its error, which the task says; of None, those of now."""
        said = self.answers() if answers is None else answers
        error, pairs = self.served.task.error, zip(said.tolist(), self.exam.truth.tolist(), strict=True)
        return np.array([1 - error(mine, true) for mine, true in pairs], np.float64)

    def measured(self, answers: Names) -> dict[str, float]:
        """Return the task's own figures of these answers."""
        measure = self.served.task.measure()
        for said, target in zip(answers.tolist(), self.exam.truth.tolist(), strict=True):
            measure.count(said, target, 1)
        return dict(measure.figures())

    def look(self, events: int, come: Collection[str]) -> None:
        """Add a point: after so many events, of which these groups had come."""
        self.add(events, come, self.right())

    def add(self, events: int, come: Collection[str], right: Shares) -> None:
        """Add a point whose answers are there already."""
        known = set(come)
        self.points.append(Point(events, right, np.array([group in known for group in self._groups], bool)))

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
            rows = self._rows[label]
            right = self._answered([self._tokens[row] for row in rows], self.exam.truth[rows]) == label
            if right.mean() >= ENOUGH:
                self.needed[label] = count

    def _answered(self, tokens: Sequence[IntArray], truth: Names) -> Names:
        """Answer texts that were cut into tokens; None where the model abstains.

        What an answer says in a word a task tells where it compares it, so the labels go with the texts.

        Raises:
            StoppedError: somebody interrupted.
        """
        served, targets = self.served, truth.tolist()
        found: list[Target | None] = []
        if not served.model.trained:
            return _column([None] * len(tokens))
        for start in range(0, len(tokens), CHUNK):
            if self._is_stopped():
                raise StoppedError
            answer = served.answer(tokens[start : start + CHUNK])
            found += answer.judged(range(len(answer)), targets[start : start + CHUNK]).said
        return _column(found)


def _column(values: Sequence[Target | None]) -> Names:
    """Return an array of targets, a tuple being one of them."""
    column = np.full(len(values), None, object)
    for at, value in enumerate(values):
        column[at] = value
    return column
