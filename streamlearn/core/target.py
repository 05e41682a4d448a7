"""What the rest of the house may ask about labels and answers, whatever the task: protocols, in numpy alone.

A task decides what a label means. So `stream`, `evaluation`, `learning`, `serving` and `durability` hold targets and
answers without looking into them, and ask whoever made them. For `sequence-classification`:

    targets.checked("refund", "label")     -> "refund"            the JSON value is a label
    targets.admitted("refund", "label")    -> "refund"            and one that is allowed
    answer.published()[0]                  -> {"label": "refund", "score": 0.91, "top": [{...}, ...]}
    task.judge(answer.kept([0]), ["card"]) -> said ["refund"], errors [1.0], losses [3.2], confidences [0.91]
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Target: TypeAlias = Hashable
"""What a label means: a JSON value, with tuples for lists. The name of a class, a number, a tuple of tags. Equal labels
are equal targets."""

IntArray: TypeAlias = npt.NDArray[Any]

Rows: TypeAlias = npt.NDArray[np.void]
"""A structured array, a row an event."""


class Column(NamedTuple):
    """How an encoded target lies in the memory beside its group: `shape` is that of one target."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()


class Targets(Protocol):
    """What labels mean, and which are allowed. Labels are admitted as they come, so it grows with the stream."""

    wanted: str  # what a label should be, for messages: "a string of 1 to 256 characters, or an integer"

    def taken(self, values: Sequence[Any]) -> list[Target | None]:
        """Check and admit the labels of a batch, as JSON has them; None stands for no label.

        Raises:
            Refusal: one of them cannot be taken; which ones is found out by `checked` and `admitted`.
        """
        ...

    def checked(self, value: Any, path: str) -> Target:  # noqa: ANN401 - any JSON value but null
        """Return what a label means. It need not be allowed, and changes nothing.

        Args:
            value: the label as JSON has it.
            path: what the user calls it.

        Raises:
            Refusal: it is no label of this task (`label-type`).
        """
        ...

    def admitted(self, target: Target, path: str) -> Target:
        """Return the target, which is known from now on.

        Raises:
            Refusal: it is blank (`label-type`), or not allowed (`unknown-label`).
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what was admitted so far, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what `state_dict` returned, and nothing else."""
        ...


class Judged(NamedTuple):
    """What was served of n events, compared with the labels that came: columns of length n.

    `said` is the essence of each answer, None where nothing was served; `errors` are from 0 (right) to 1; `losses` are
    negative log-likelihoods of the labels (nats), bounded; `confidences` are the published ones, nan where there was
    none.
    """

    said: Sequence[Target | None]
    errors: Sequence[float]
    losses: Sequence[float]
    confidences: Sequence[float]


class Answer(Protocol):
    """What a model says of n events, as its task reads it."""

    def __len__(self) -> int: ...

    def extended(self, others: Sequence[Self]) -> Self:
        """Return the answers to these events, and then to those of the others."""
        ...

    def published(self) -> Sequence[Mapping[str, Any]]:
        """Return, of each event, the task's own fields of its prediction.

        They are the same for all events, and none of those that every prediction has (`stream.events`).
        """
        ...

    def named(self) -> Sequence[str | None]:
        """Return the group that each answer names first; None where it names none."""
        ...

    def confidences(self) -> npt.NDArray[np.float64]:
        """Return how sure each answer is, as it is published: (n,), from 0 to 1, nan where the task knows no such."""
        ...

    def doubts(self) -> npt.NDArray[np.float64]:
        """Return how much each answer is in doubt, (n,), from 0 to 1: the more, the sooner its label is asked for."""
        ...

    def kept(self, rows: Sequence[int]) -> Rows:
        """Return what waits with some events for their labels, in a few bytes each: (len(rows),) of `Judge.kept`."""
        ...

    def judged(self, rows: Sequence[int], targets: Sequence[Target]) -> Judged:
        """Compare some answers with labels that came at once; as `Judge.judge`, but from all that was said."""
        ...


class Judge(Protocol):
    """Compares what was served with the labels that came, at once or later."""

    kept: np.dtype[np.void]  # of what an event keeps of its answer while it waits for a label
    nothing: Mapping[str, Any]  # the task's own fields of a prediction, before anything is known

    def unknown(self, n: int) -> Rows:
        """Return what n events keep of which nothing was said, since nothing was known yet: (n,) of `kept`."""
        ...

    def judge(self, kept: Rows, targets: Sequence[Target]) -> Judged:
        """Compare what was kept of n answers with the labels that came, in columns of length n."""
        ...

    def error(self, said: Target | None, target: Target) -> float:
        """Return how wrong an answer is, given its essence: from 0 to 1; 1 where nothing was served."""
        ...

    def group(self, target: Target) -> str:
        """Return the group that a label belongs to: probes, forgetting and memory are told by it."""
        ...

    def columns(self, kept: Rows) -> dict[str, npt.NDArray[Any]]:
        """Return what was kept as plain columns (copies), under the names that a snapshot has."""
        ...

    def restored(self, columns: Mapping[str, npt.NDArray[Any]]) -> Rows:
        """Return the rows of `columns`."""
        ...

    def targets_packed(self, targets: Sequence[Target | None]) -> dict[str, Any]:
        """Return labels, or essences of answers, for a snapshot: an array `labels` that has a row for each of them, and
        whatever JSON values belong to it."""
        ...

    def targets_unpacked(self, state: Mapping[str, Any]) -> list[Target | None]:
        """Return what `targets_packed` packed; `labels` may be some of its rows."""
        ...


class Measure(Protocol):
    """A task's own figures over a window of labelled events; error, loss and calibration every task has."""

    def count(self, said: Target | None, target: Target, sign: int) -> None:
        """Count an event that comes into the window (1) or leaves it (-1)."""
        ...

    def figures(self) -> Mapping[str, float]:
        """Return the figures by the names that the task declares; nan where there is nothing to tell."""
        ...


def as_target(value: Any) -> Target:  # noqa: ANN401 - any JSON value
    """Return a JSON value that a target became, as the target again: lists are tuples."""
    return tuple(map(as_target, value)) if isinstance(value, list) else value
