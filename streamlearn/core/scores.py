"""What is kept of the probabilities that an event's labels got: the greatest, in a few bytes.

The `TOP` greatest are kept, and the rest is taken to be spread evenly over the other labels known then. So a label's
probability is exact where `TOP` labels or fewer were known, or where it was among the likeliest; a label that was not
known then has 0.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.core.target import IntArray, Rows
from streamlearn.core.vocabulary import NONE

CERTAINLY_WRONG = 1e-6  # the probability that the loss takes for a label that was not known or was excluded
TOP = 5  # probabilities that are kept as they were
# `others` is what each label known then has that is not in `top`.
TOP_SCORES = np.dtype([("classes", "<i4"), ("top", "<i4", (TOP,)), ("probabilities", "<f4", (TOP,)), ("others", "<f8")])
KEPT: Final = ("classes", "top", "probabilities")  # in a state: `others` follows from them


class Scores(NamedTuple):
    """What the model says of n events.

    `probabilities` is float32 of shape (n, classes); `top` and `top_scores`, of shape (n, k), are the k likeliest
    classes and their probabilities, best first.
    """

    probabilities: npt.NDArray[np.float32]
    top: IntArray
    top_scores: npt.NDArray[np.float32]


def pack_top_scores(probabilities: npt.NDArray[np.float32] | None, n: int) -> Rows:
    """Return what is kept of n rows (n, classes), as `TOP_SCORES`; None stands for no label known.

    `top` is in no order, and holds `NONE` where there are fewer labels.
    """
    rows = np.zeros(n, TOP_SCORES)
    rows["top"] = NONE
    if probabilities is not None:
        classes = rows["classes"] = probabilities.shape[1]
        kept = min(TOP, classes)
        top = np.argpartition(-probabilities, kept - 1, axis=1)[:, :kept]
        rows["top"][:, :kept], rows["probabilities"][:, :kept] = top, np.take_along_axis(probabilities, top, 1)
        rows["others"] = _others(rows)
    return rows


def probabilities(rows: Rows, numbers: IntArray) -> npt.NDArray[np.float64]:
    """Return what one label of each row got, by its number; `NONE` stands for one that is not known."""
    known = (numbers >= 0) & (numbers < rows["classes"])
    found: npt.NDArray[np.float64] = np.where(known, rows["others"], 0.0)
    row, at = np.nonzero(rows["top"] == numbers[:, None])
    found[row] = rows["probabilities"][row, at]
    return found


def loss(probability: float) -> float:
    """Return the negative logarithm (nats) of what a label got, at most -log(1e-6); nan counts as wrong."""
    return -math.log(max(CERTAINLY_WRONG, probability))  # in this order, for nan


def columns(rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """Return rows as the columns (copies) of a state."""
    return {name: rows[name].copy() for name in KEPT}


def restored(state: Mapping[str, npt.NDArray[Any]]) -> Rows:
    """Return the rows of a state."""
    rows = np.zeros(len(state["classes"]), TOP_SCORES)
    for name in KEPT:
        rows[name] = state[name]
    rows["others"] = _others(rows)
    return rows


def _others(rows: Rows) -> npt.NDArray[np.float64]:
    rest = np.maximum(0.0, 1.0 - rows["probabilities"].astype(np.float64).sum(1))
    shared: npt.NDArray[np.float64] = rest / np.maximum(1, rows["classes"] - TOP)
    return shared
