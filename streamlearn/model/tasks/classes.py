"""What tasks with one class an event share: labels as names, answers as probabilities, their figures. No torch."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt

from streamlearn.core.describe import shown
from streamlearn.core.refusal import Refusal
from streamlearn.core.scores import (
    TOP_SCORES,
    Scores,
    columns,
    loss,
    pack_top_scores,
    probabilities,
    restored,
)
from streamlearn.core.target import Judged, Rows, Target
from streamlearn.core.vocabulary import NONE, Labels

MAX_LABEL: Final = 256  # characters
DIGITS: Final = 6  # of a published score; more say nothing
KEPT: Final = np.dtype([("score", "<f8"), ("predicted", "<i4"), ("top_scores", TOP_SCORES)])


class ClassTargets:
    """Labels are names of classes; an integer counts as its digits. An open set grows up to `max_labels`.

    Args:
        labels: known beforehand.
        closed: refuse every other label.
        max_labels: different labels that an open set may get to.
    """

    wanted = f"a string of 1 to {MAX_LABEL} characters, or an integer"

    def __init__(self, labels: Iterable[str] = (), *, closed: bool = False, max_labels: int = 10_000) -> None:
        self.closed, self.max_labels = closed, max_labels
        listed = list(labels)
        self._known: set[Target | None] = {None, *listed}
        self._nearest = lru_cache(1_000)(partial(_nearest, listed if closed else []))

    def taken(self, values: Sequence[Any]) -> list[Target | None]:
        """Check and admit the labels of a batch; see `Targets.taken`."""
        try:
            if self._known.issuperset(values):
                return cast("list[Target | None]", values)
        except TypeError:  # a list or an object: it is refused below
            pass
        return [None if value is None else self.admitted(self.checked(value, "label"), "label") for value in values]

    def checked(self, value: Any, path: str) -> str:  # noqa: ANN401 - any JSON value
        """Return the label's name; see `Targets.checked`."""
        if type(value) is str and 0 < len(value) <= MAX_LABEL:
            return value
        if type(value) is int:  # JSON brings those of 64 bits, with a sign or without; larger ones are floats
            return str(value)
        found = "an empty string" if value == "" else shown(value)
        if isinstance(value, float) and abs(value) >= 2**63 and value.is_integer():
            found = "an integer of more than 64 bits"
        raise Refusal("label-type", f"{path!r} is {found}; it should be {self.wanted}")

    def admitted(self, target: Target, path: str) -> Target:
        """Return the label, which is known from now on; see `Targets.admitted`."""
        if target in self._known:
            return target
        label = cast("str", target)
        if label.isspace():
            raise Refusal("label-type", f"{path!r} is blank; leave it out where there is no label")
        known = len(self._known) - 1
        if self.closed:
            raise Refusal("unknown-label", f"{label!r} is not one of the {known} of task.labels{self._nearest(label)}")
        if known >= self.max_labels:
            raise Refusal("unknown-label", f"{label!r} would be more than limits.labels allows ({self.max_labels})")
        self._known.add(label)
        return label

    def state_dict(self) -> dict[str, Any]:
        """Return the labels seen so far."""
        return {"labels": sorted(cast("set[str]", self._known - {None}))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know the labels that `state_dict` returned, and no others."""
        self._known = {None, *state["labels"]}


class ClassAnswer:
    """What the model says of n events, in probabilities of the classes known then.

    Args:
        scores: of n events.
        labels: the vocabulary that numbers the classes; it may grow later.
    """

    def __init__(self, scores: Scores, labels: Labels) -> None:
        self.scores, self._labels = scores, labels

    def __len__(self) -> int:
        return len(self.scores.top)

    def extended(self, others: Sequence[Self]) -> Self:
        """Return the answers to these events, and then to those of the others."""
        parts = [self.scores, *(each.scores for each in others)]
        return type(self)(Scores(*map(np.concatenate, zip(*parts, strict=True))), self._labels)

    def published(self) -> list[dict[str, Any]]:
        """Return the likeliest label of each event, its probability, and the `top_k` likeliest, best first."""
        labels = np.array(self._labels.names, dtype=object)[self.scores.top].ravel().tolist()
        values = np.round(self.scores.top_scores.astype(np.float64), DIGITS)
        flat = [{"label": label, "score": score} for label, score in zip(labels, values.ravel().tolist(), strict=True)]
        k = values.shape[1]
        tops = [flat[at : at + k] for at in range(0, len(flat), k)]
        return [{"label": top[0]["label"], "score": top[0]["score"], "top": top} for top in tops]

    def named(self) -> list[str | None]:
        """Return the likeliest label of each event."""
        names = self._labels.names
        return [names[number] for number in self.scores.top[:, 0].tolist()]

    def confidences(self) -> npt.NDArray[np.float64]:
        """Return the probability of the likeliest label, as it is published: (n,)."""
        return np.round(self.scores.top_scores[:, 0].astype(np.float64), DIGITS).astype(np.float64, copy=False)

    def doubts(self) -> npt.NDArray[np.float64]:
        """Return 1 minus the margin of the likeliest label before the next one: (n,).

        Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction", 2001.
        """
        own = self.scores.probabilities.astype(np.float64)
        if own.shape[1] < 2:
            return np.ones(len(own))
        two = np.partition(own, -2, axis=1)[:, -2:]
        margins: npt.NDArray[np.float64] = np.abs(two[:, 1] - two[:, 0])
        return 1 - margins

    def kept(self, rows: Sequence[int]) -> Rows:
        """Return the likeliest label of some events, and what is kept of their probabilities: (len(rows),)."""
        at = list(rows)
        head = np.zeros(len(at), KEPT)
        head["predicted"], head["score"] = self.scores.top[at, 0], self.confidences()[at]
        head["top_scores"] = pack_top_scores(self.scores.probabilities[at], len(at))
        return head

    def judged(self, rows: Sequence[int], targets: Sequence[Target]) -> Judged:
        """Compare the likeliest labels with those that came; a label not known then had a probability of 0."""
        own, names = self.scores.probabilities, self._labels.names
        at, classes = list(rows), own.shape[1]
        said = [names[number] for number in self.scores.top[at, 0].tolist()]
        numbers = self._labels.numbers(cast("Sequence[str]", targets))
        found = [
            float(own[row, number]) if 0 <= number < classes else 0.0 for row, number in zip(at, numbers, strict=True)
        ]
        errors = [float(each != target) for each, target in zip(said, targets, strict=True)]
        return Judged(said, errors, list(map(loss, found)), self.confidences()[at].tolist())


class ClassJudge:
    """Compares classes: an answer is right or wrong.

    Args:
        labels: the vocabulary that numbers the classes.
    """

    kept: np.dtype[np.void] = KEPT
    nothing: Mapping[str, Any] = MappingProxyType({"label": None, "score": None, "top": ()})

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def unknown(self, n: int) -> Rows:
        """Return what n events keep of which nothing was said."""
        rows = np.zeros(n, KEPT)
        rows["score"], rows["predicted"], rows["top_scores"] = np.nan, NONE, pack_top_scores(None, n)
        return rows

    def judge(self, kept: Rows, targets: Sequence[Target]) -> Judged:
        """Compare what was said with the labels that came; the probability of a label outside the likeliest is taken
        from what the others shared."""
        names = [*self.labels.names, None]  # NONE is the last one
        said = [names[number] for number in kept["predicted"].tolist()]
        numbers = np.array(self.labels.numbers(cast("Sequence[str]", targets)), np.int64)
        found = probabilities(kept["top_scores"], numbers).tolist()
        errors = [self.error(each, target) for each, target in zip(said, targets, strict=True)]
        return Judged(said, errors, list(map(loss, found)), kept["score"].tolist())

    def error(self, said: Target | None, target: Target) -> float:
        """Return 0 where the label is right, else 1."""
        return float(said != target)

    def group(self, target: Target) -> str:
        """Return the label: each class is a group."""
        return cast("str", target)

    def columns(self, kept: Rows) -> dict[str, npt.NDArray[Any]]:
        """Return `score`, `predicted`, and the columns of `core.scores`."""
        return {"score": kept["score"].copy(), "predicted": kept["predicted"].copy(), **columns(kept["top_scores"])}

    def restored(self, columns: Mapping[str, npt.NDArray[Any]]) -> Rows:
        """Return the rows of `columns`; the answers that 0.1.0 kept for corrections have no score and no label."""
        rows = self.unknown(len(columns["classes"]))
        rows["top_scores"] = restored(columns)
        for name in ("score", "predicted"):
            if name in columns:
                rows[name] = columns[name]
        return rows

    def targets_packed(self, targets: Sequence[Target | None]) -> dict[str, Any]:
        """Return {"names": the names that there are, "labels": the number of each among them, int32 of shape (n,)}."""
        names = list(dict.fromkeys(cast("str", each) for each in targets if each is not None))
        number: dict[Target | None, int] = {None: NONE, **{name: at for at, name in enumerate(names)}}
        return {"names": names, "labels": np.array([number[each] for each in targets], np.int32)}

    def targets_unpacked(self, state: Mapping[str, Any]) -> list[Target | None]:
        """Return what `targets_packed` packed."""
        names = [*state["names"], None]  # NONE is the last one
        return [names[number] for number in state["labels"].tolist()]


class ClassAgreement:
    """Cohen's kappa, 1960: agreement beyond what the two distributions of labels give by chance."""

    def __init__(self) -> None:
        self._n = self._right = 0
        self._said: Counter[Target | None] = Counter()
        self._true: Counter[Target] = Counter()

    def count(self, said: Target | None, target: Target, sign: int) -> None:
        """Count an event that comes into the window (1) or leaves it (-1)."""
        self._n += sign
        self._right += sign * (said == target)
        _add(self._said, said, sign)
        _add(self._true, target, sign)

    def figures(self) -> dict[str, float]:
        """Return `kappa`; nan while only one label came and was predicted."""
        n = self._n
        if not n:
            return {"kappa": math.nan}
        said = dict(self._said)
        chance = sum(count * said.get(label, 0) for label, count in dict(self._true).items()) / n**2
        return {"kappa": (self._right / n - chance) / (1 - chance) if chance < 1 else math.nan}


def _add(counter: Counter[Any], key: Target | None, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]


def _nearest(labels: Sequence[str], label: str) -> str:
    near = get_close_matches(label, labels, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
