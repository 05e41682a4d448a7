"""Measures of continual learning, by their definitions: from a matrix of accuracies, as `evaluate` has one; and while
the stream goes on, from probes (`Probes.record` -> `Cohort.score` -> `by_label`).

A task matrix has one row for each task learned and one column for each task tested: `accuracy[i, j]` is the accuracy
on task j after task i was learned, both from 0. nan stands for what was not measured: every mean leaves it out, and is
nan where nothing is left. Accuracies are fractions.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from streamlearn.evaluation.cohorts import LabelProbes, Means, share

Matrix = npt.NDArray[np.float64]


def average_accuracy(accuracy: Matrix) -> float:
    """Return the mean accuracy over the tasks learned, once all are: the mean of the last row.

    ACC of Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017.
    """
    return _mean(accuracy[-1])


def forgetting(accuracy: Matrix) -> float:
    """Return how far the tasks before the last are below their best, at the end; negative where they only gained.

    F of Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018: the mean over tasks but the last of the
    best accuracy before the last task was learned, minus the accuracy after it. nan for one task.
    """
    before, last = accuracy[:-1, :-1], accuracy[-1, :-1]
    best = np.where(np.isnan(before), -np.inf, before).max(axis=0, initial=-np.inf)
    return _mean(np.where(np.isinf(best), np.nan, best) - last)


def backward_transfer(accuracy: Matrix) -> float:
    """Return what learning later tasks did to the earlier ones: negative is forgetting.

    BWT of Lopez-Paz and Ranzato, 2017: the mean over tasks but the last of the accuracy at the end minus the accuracy
    when the task was just learned. nan for one task.
    """
    return _mean(accuracy[-1, :-1] - accuracy.diagonal()[:-1])


def forward_transfer(accuracy: Matrix, untrained: npt.NDArray[np.float64]) -> float:
    """Return what learning earlier tasks did for the ones not learned yet.

    FWT of Lopez-Paz and Ranzato, 2017: the mean over tasks but the first of the accuracy just before the task is
    learned, minus that of a model that learned nothing. nan for one task.

    Args:
        accuracy: the task matrix, shape (n, n).
        untrained: accuracy on each task before anything was learned, shape (n,).
    """
    return _mean(accuracy.diagonal(1) - untrained[1:])


def by_label(labels: Mapping[str, LabelProbes]) -> dict[str, float]:
    """Return by label how far its probe accuracy is below its best, without task boundaries.

    For a cohort: the best mean over five consecutive evaluations so far minus the last such mean. For a label: the mean
    over its complete cohorts that have one, weighted by their size. Chaudhry et al., "Riemannian walk for incremental
    learning", ECCV 2018, with the stream's own measurements in the place of tasks.
    """
    return {
        label: _weighted([(size, means.best - means.last) for size, means in cohorts])
        for label, cohorts in _measured(labels)
    }


def online_backward_transfer(labels: Mapping[str, LabelProbes]) -> float:
    """Return the mean over the same labels of the last five-evaluation mean minus the first one; nan without any.

    The online form of Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017: negative
    where labels were forgotten, positive where what came later helped them.
    """
    return mean(
        _weighted([(size, means.last - means.first) for size, means in cohorts]) for _, cohorts in _measured(labels)
    )


def online_forward_transfer(labels: Mapping[str, LabelProbes]) -> float:
    """Return the mean over labels of the accuracy of the label's first evaluation minus chance; nan before any.

    Chance is 1 / labels known then. The first evaluation is due in the batch that brings the label's first probe, when
    the label's other events of that batch and before may have been learned: it reads how soon a new label is answered,
    where the figure of Lopez-Paz and Ranzato, 2017, is taken before anything of it was learned.
    """
    return mean(label.first for label in labels.values() if label.first is not None)


def recent_accuracy(labels: Mapping[str, LabelProbes]) -> dict[str, float]:
    """Return by label the accuracy in its last five evaluations (or fewer), whichever the cohort."""
    return {name: share(label.recent) for name, label in labels.items() if label.recent}


def mean(values: Iterable[float]) -> float:
    """Return the mean; nan of none."""
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan


def _measured(labels: Mapping[str, LabelProbes]) -> Iterator[tuple[str, list[tuple[int, Means]]]]:
    """Yield each label that has complete cohorts with a mean over five evaluations: their sizes and means."""
    for name, label in labels.items():
        measured = label.measured()
        if measured:
            yield name, measured


def _weighted(values: Sequence[tuple[int, float]]) -> float:
    return math.fsum(size * value for size, value in values) / sum(size for size, _ in values)


def _mean(values: npt.NDArray[np.float64]) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else math.nan
