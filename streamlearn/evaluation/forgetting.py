"""Measures of continual learning, by their definitions, from a matrix of accuracies.

A task matrix has one row for each task learned and one column for each task tested: `accuracy[i, j]` is the accuracy
on task j after task i was learned, both from 0. nan stands for what was not measured: every mean leaves it out, and is
nan where nothing is left. Accuracies are fractions.
"""

import math

import numpy as np
import numpy.typing as npt

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


def _mean(values: npt.NDArray[np.float64]) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else math.nan
