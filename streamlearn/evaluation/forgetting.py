"""Measures of continual learning, by their definitions: from a matrix of accuracies, and from recorded probe results.

A task matrix has one row for each task learned and one column for each task tested: `accuracy[i, j]` is the accuracy
on task j after task i was learned, both from 0. nan stands for what was not measured: every mean leaves it out, and is
nan where nothing is left. Accuracies are fractions.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.evaluation.cohorts import ENOUGH, FOLDS, Result

Matrix = npt.NDArray[np.float64]


def average_accuracy(accuracy: Matrix) -> float:
    """Return the mean accuracy over the tasks learned, once all are: the mean of the last row.

    ACC of Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017.
    """
    return _mean(accuracy[-1])


def average_incremental_accuracy(accuracy: Matrix) -> float:
    """Return the mean, over the tasks learned, of the mean accuracy on the tasks learned by then.

    Rebuffi et al., "iCaRL: incremental classifier and representation learning", CVPR 2017.
    """
    return _mean(np.array([_mean(row[: task + 1]) for task, row in enumerate(accuracy)]))


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


class Offline(NamedTuple):
    """What `Probes` measures while the stream goes on, from its results afterwards."""

    forgetting: float
    class_forgetting: dict[str, float]
    backward_transfer: float


def offline(results: Iterable[Result], sizes: Mapping[str, Mapping[int, int]] | None = None) -> Offline:
    """Compute forgetting and backward transfer anew from the recorded results, in any order, by plain definition.

    For each complete cohort, means over five consecutive evaluations; the best one minus the last one, and the last one
    minus the first one. For each label, their means over its cohorts with at least 20 probes, weighted by size; then
    the mean over labels.

    Args:
        results: all that `Probes.record` returned.
        sizes: the cohorts that count and their sizes, by label and number, as `Probes.sizes` gives them. Without it
            every cohort ever completed counts, with the probes of its last five evaluations.
    """
    tables: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        if result.evaluation >= 0:
            tables.setdefault((result.label, result.cohort), []).append(result)
    rows: dict[str, list[tuple[float, float, float]]] = {}  # size, forgetting, transfer
    for (label, cohort), table in tables.items():
        evaluations, correct, total = np.array(sorted(each[2:] for each in table), np.int64).T
        assert (evaluations == np.arange(len(table))).all(), f"results of {label!r}, cohort {cohort} are missing"
        window = np.ones(FOLDS, np.int64)
        if len(table) < FOLDS:
            continue
        means = np.convolve(correct, window, "valid") / np.convolve(total, window, "valid")
        size = int(total[-FOLDS:].sum()) if sizes is None else sizes.get(label, {}).get(cohort, 0)
        if size >= ENOUGH:
            rows.setdefault(label, []).append((size, means.max() - means[-1], means[-1] - means[0]))
    lost, gained = {}, []
    for label, cohorts in rows.items():
        size, drops, changes = np.array(cohorts).T
        lost[label] = float(np.average(drops, weights=size))
        gained.append(float(np.average(changes, weights=size)))
    return Offline(_mean(np.array(list(lost.values()))), lost, _mean(np.array(gained)))


def _mean(values: npt.NDArray[np.float64]) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else math.nan
