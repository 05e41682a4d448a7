"""Forgetting and backward transfer from recorded probe results, by plain definition: what `Probes` is compared with."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from streamlearn.evaluation.cohorts import ENOUGH, FOLDS, Result
from streamlearn.evaluation.probes import Probes


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
        sizes: the cohorts that count and their sizes, by label and number, as `sizes` gives them. Without it
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
    return Offline(_mean(list(lost.values())), lost, _mean(gained))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def sizes(probes: Probes) -> dict[str, dict[int, int]]:
    """Return by label the number and size of each cohort that is complete."""
    return {
        name: {cohort.number: len(cohort.held) for cohort in label.cohorts if cohort.complete}
        for name, label in probes._labels.items()
    }
