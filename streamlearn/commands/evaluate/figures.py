"""The figures of an evaluation, computed from what was answered at each of its points. Plain functions of arrays."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.evaluation import forgetting as continual

Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]  # of classes; of other tasks, whatever targets are
Shares = npt.NDArray[np.float64]  # how right each answer is: 0 or 1 where there are classes, else 1 minus its error


class Point(NamedTuple):
    """One look at the test set: after how many events, how right each sample was, and whether its group had come."""

    events: int
    right: Shares
    come: Flags


def matrix(points: Sequence[Point], tasks: npt.NDArray[np.int64], count: int) -> continual.Matrix:
    """Return the accuracy on each task (column) at each point (row); nan where a task has no test sample.

    Args:
        points: one for each task, after it was learned.
        tasks: the task of each test sample; -1 where its class is in none.
        count: the number of tasks.
    """
    return np.array([by_task(point.right, tasks, count) for point in points])


def by_task(right: Shares, tasks: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    """Return the accuracy on each task; nan where it has no test sample."""
    return np.array([mean(right[tasks == task]) for task in range(count)])


def anytime(points: Sequence[Point]) -> float:
    """Return the mean over the points of the accuracy on the test samples whose class had come by then."""
    values = np.array([mean(point.right[point.come]) for point in points])
    return mean(values[~np.isnan(values)])


def negative_flips(points: Sequence[Point]) -> float:
    """Return, of the test samples right at a point, the share that was wrong at the next: over all neighbours.

    An answer is right or wrong, as where there are classes.
    """
    before = sum(int(point.right.sum()) for point in points[:-1])
    lost = sum(int((earlier.right > later.right).sum()) for earlier, later in pairwise(points))
    return lost / before if before else math.nan


def per_label(truth: Names, predicted: Names) -> dict[str, dict[str, float | int]]:
    """Return precision, recall, F1 and support of each label of the truth; what has no denominator is 0."""
    report: dict[str, dict[str, float | int]] = {}
    for label in sorted(set(truth.tolist())):
        is_it, said = truth == label, predicted == label
        hits, support = int((is_it & said).sum()), int(is_it.sum())
        precision, recall = hits / max(1, int(said.sum())), hits / support
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        report[label] = {"precision": precision, "recall": recall, "f1": f1, "support": support}
    return report


def efficiency(needed: Mapping[str, int | None]) -> dict[str, Any]:
    """Sum up how many labels each new class needed: the median over classes, those that never got there the worst."""
    values = sorted(math.inf if count is None else count for count in needed.values())
    middle = values[(len(values) - 1) // 2] if values else math.inf
    return {
        "median": None if math.isinf(middle) else middle,
        "classes": len(values),
        "reached": sum(not math.isinf(value) for value in values),
        "by_label": dict(sorted(needed.items())),
    }


def mean(values: npt.NDArray[Any]) -> float:
    """Return the mean; nan of nothing."""
    return float(values.mean()) if len(values) else math.nan


def finite(value: float | None) -> float | None:
    """Return the number as JSON has it: None for nan and infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def plain(value: Any) -> Any:  # noqa: ANN401 - any value
    """Return figures as JSON has them: None for each number in them that is nan or infinite."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return finite(value) if isinstance(value, float) else value


def rows(values: Iterable[Iterable[float]]) -> list[list[float | None]]:
    """Return a matrix as JSON has it."""
    return [[finite(value) for value in row] for row in values]
