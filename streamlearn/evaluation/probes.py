"""Probes: labelled events that are kept out of training, so that what is still known can be measured all the time."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.core import rng
from streamlearn.core.arrays import arrays, tensors
from streamlearn.core.batch import Sample
from streamlearn.core.errors import ConfigError
from streamlearn.core.target import Judge, Target
from streamlearn.evaluation import forgetting
from streamlearn.evaluation.cohorts import FOLDS, Cohort, LabelProbes, Result
from streamlearn.evaluation.config import ProbesConfig
from streamlearn.evaluation.probe_store import ProbeStore

__all__ = ["Probes", "Result"]


HALF = 0.5  # the accuracy from which an answer counts as right, where it may be half right


class _Evaluation(NamedTuple):
    label: str
    cohort: int
    complete: bool
    ids: list[str]


class Probes:
    """Chooses probes, says which are due, and measures forgetting on them without task boundaries.

    Labels are told apart by their task's groups: a class, an entity type, a range of numbers. A "label" here is such a
    group.

    A label's probes come in cohorts, and a complete cohort is only ever compared with itself: a model that does not
    change has a forgetting of exactly 0. The first cohort stays for ever. Each time a label has had twice as many
    labelled events as when its newest cohort was completed, another is collected, and takes the place of the newest
    one but the first: probes stay spread over the label's life, and bounded.

    A complete cohort is cut into five folds (every fifth probe by arrival). One evaluation of a label is one fold of
    one cohort; folds and cohorts take turns, so five consecutive evaluations of a cohort see each probe once. A cohort
    that is being collected is evaluated too, for `accuracy` only.

    Room: at most `capacity` probes. A label that has none yet takes the last cohort of the label with the most cohorts
    (of those, with the most labelled events), never a first one; where all have one only, the new label gets none.

    The cost of a labelled event does not depend on the number of labels, but for the first probe of a label once all
    room is taken. One thread changes the probes; others may read the figures meanwhile.

    Args:
        config: how many, and how often they are evaluated.
        judge: of the task: it says which group a label is of.
        seed: of the choice.
    """

    def __init__(self, config: ProbesConfig, judge: Judge, *, seed: int) -> None:
        self.config, self._judge, self._group = config, judge, judge.group
        self.refused_labels = 0  # that have no probes for want of room
        self._key = seed.to_bytes(16, "little")
        self._fold = config.per_label // FOLDS  # probes an evaluation
        self._room = config.capacity // config.per_label  # cohorts not yet opened
        self._extra = 0  # cohorts beyond the labels' first ones
        self._labels: dict[str, LabelProbes] = {}
        self._fresh: deque[str] = deque()  # labels that wait for their first evaluation
        self._rotation: deque[str] = deque()  # the others, longest not evaluated first
        self._pending: list[_Evaluation] = []
        self._clock = 0  # labelled events
        self._largest = 0  # batch of labelled events
        self._credit = 0.0  # probes that may be evaluated
        self._store = ProbeStore(self._room * config.per_label)

    def __len__(self) -> int:
        return len(self._store.slot_of)

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._store.slot_of

    def offer(self, sample: Sample) -> bool:
        """Take in one labelled event, and return whether it is a probe: then it must not be learned.

        An id that is held stays a probe. Its second label, where it differs, is a correction: as `replace`.
        """
        if not self.config.share:
            return False
        slot = self._store.slot_of.get(sample.id)
        if slot is not None:
            if self._store[slot].label == sample.label:
                return True
            self._labels[self._group(self._store[slot].label)].seen -= 1  # it was no event of that label
            self.remove(sample.id)
        name = self._group(sample.label)
        label = self._labels.get(name)
        if label is None:
            label = self._labels[name] = LabelProbes()
        label.seen += 1
        if rng.share(sample.id, self._key, "probes") >= self.config.share:
            return False
        cohort = self._open(label)
        if cohort is None:
            return False
        cohort.slots.append(self._store.add(sample))
        if not label.queued:
            label.queued = True
            self._fresh.append(name)
        if len(cohort.slots) == self.config.per_label:
            self._complete(label, cohort)
        return True

    def may_take(self, sample_id: str) -> bool:
        """Say whether an event of this id may become a probe once its label is known."""
        return bool(self.config.share) and rng.share(sample_id, self._key, "probes") < self.config.share

    def replace(self, sample_id: str, label: Target) -> Sample | None:
        """Correct the label of a probe: it leaves its cohort, and is offered anew under its new label.

        Returns the sample where it is no probe any more, and may be learned; None where it is one, or never was.
        """
        slot = self._store.slot_of.get(sample_id)
        if slot is None:
            return None
        sample = Sample(sample_id, self._store[slot].tokens, label)
        return None if self.offer(sample) else sample

    def remove(self, sample_id: str) -> bool:
        """Forget one probe, if it is there; return whether it was.

        A complete cohort gets smaller and keeps its history, down to 20 probes. With fewer it counts no more: what is
        left begins a new cohort with a new history, and is filled up.
        """
        slot = self._store.slot_of.get(sample_id)
        if slot is None:
            return False
        self._labels[self._group(self._store[slot].label)].without(slot)
        self._store.release(slot)
        return True

    def due(self, labelled: int) -> list[Sample]:
        """Return the probes to evaluate now, after so many more labelled events; `record` must follow.

        The budget buys evaluations of the labels in rotation; new labels come first. It is stretched where a label
        would otherwise wait for more than `every` labelled events, which holds for batches no larger than those
        before. No fold comes twice in one call.
        """
        assert not self._pending, "the last due was not recorded"
        every, spent = self.config.every, set[int]()
        self._clock += labelled
        self._largest = max(self._largest, labelled)
        needed = len(self._rotation) * self._fold / max(1, every - self._largest)
        self._credit += labelled * max(self.config.budget, needed)
        while self._fresh:
            label = self._fresh.popleft()
            self._rotation.append(label)
            self._take(label, spent)
        skipped = 0
        while skipped < len(self._rotation) and (
            self._credit >= self._fold or self._clock - self._labels[self._rotation[0]].at + self._largest > every
        ):
            label = self._rotation.popleft()
            self._rotation.append(label)
            skipped = 0 if self._take(label, spent) else skipped + 1
        self._credit = min(self._credit, self._fold)
        return [self._store[self._store.slot_of[sample_id]] for each in self._pending for sample_id in each.ids]

    def record(
        self,
        samples: Sequence[Sample],
        correct: npt.NDArray[np.bool_] | npt.NDArray[np.float64],
        confidence: npt.NDArray[np.float64],
        *,
        known: int | None = None,
    ) -> list[Result]:
        """Take in the answers to the probes that `due` gave, and return the results of its evaluations, in order.

        Args:
            samples: what `due` returned.
            correct: whether each was answered right, or its accuracy where an answer may be half right: shape (n,).
            confidence: what the model gave its answers, shape (n,).
            known: how many labels the model knows, for `forward_transfer`; those met here where not given.
        """
        pending, self._pending = self._pending, []
        assert [sample.id for sample in samples] == [sample_id for each in pending for sample_id in each.ids]
        assert len(samples) == len(correct) == len(confidence)
        results, rows = [], zip(correct.tolist(), confidence.tolist(), strict=True)
        for each in pending:
            answers = dict(zip(each.ids, rows, strict=False))
            label = self._labels[each.label]
            cohort = next((cohort for cohort in label.cohorts if cohort.number == each.cohort), None)
            if cohort is None:  # it gave way since
                continue
            held = set(cohort.held)
            found = {slot: answers[key] for key in each.ids if (slot := self._store.slot_of.get(key)) in held}
            for slot, (right, sure) in found.items():
                self._store.answered(slot, right >= HALF, sure)
            score = (sum(right for right, _ in found.values()), len(found))
            if found or each.complete:
                results.append(Result(each.label, each.cohort, cohort.evaluations if each.complete else -1, *score))
            if each.complete:
                cohort.score(score)
            if found:
                label.score(score, known or len(self._labels))
        return results

    @property
    def forgetting(self) -> float:
        """Mean of `class_forgetting` over its labels; nan without any."""
        return forgetting.mean(self.class_forgetting().values())

    def class_forgetting(self) -> dict[str, float]:
        """Return by label how far its probe accuracy is below its best; see `forgetting.by_label`."""
        return forgetting.by_label(self._labels.copy())

    @property
    def backward_transfer(self) -> float:
        """See `forgetting.online_backward_transfer`."""
        return forgetting.online_backward_transfer(self._labels.copy())

    @property
    def forward_transfer(self) -> float:
        """See `forgetting.online_forward_transfer`."""
        return forgetting.online_forward_transfer(self._labels.copy())

    @property
    def negative_flip_ratio(self) -> float:
        """Among the probes that were right at their evaluation before the last: the share that is wrong now.

        Yan et al., "Positive-congruent training", CVPR 2021, relative to what was right; nan where nothing was.
        """
        return self._store.negative_flip_ratio

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over the last answer to each probe, in 15 bins; nan before any."""
        return self._store.calibration_error

    def accuracy(self) -> dict[str, float]:
        """Return by label the share of right answers in its last five evaluations (or fewer), whichever the cohort."""
        held = self.counts()
        found = forgetting.recent_accuracy(self._labels.copy())
        return {name: accuracy for name, accuracy in found.items() if name in held}

    def counts(self) -> dict[str, int]:
        """Return how many probes each label has."""
        counts = {name: len(label) for name, label in self._labels.copy().items()}
        return {name: count for name, count in counts.items() if count}

    def state_dict(self) -> dict[str, Any]:
        """Return all that is known, as tensors and JSON values."""
        return {
            "per_label": self.config.per_label,
            "labels": [{"label": name, **label.state_dict()} for name, label in self._labels.items()],
            "fresh": list(self._fresh),
            "rotation": list(self._rotation),
            "pending": [list(each) for each in self._pending],
            "clock": self._clock,
            "largest": self._largest,
            "credit": self._credit,
            "store": self._store.state_dict([slot for _, slot in self._slots()]),
            **self._packed_targets(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; what the configuration says of share, cohorts, budget and every may have changed.

        Raises:
            ConfigError: `per_label` has changed, or `capacity` is too small for the cohorts of the state.
        """
        size, cohorts = int(state["per_label"]), sum(len(label["cohorts"]) for label in state["labels"])
        fits = {"per_label": size == self.config.per_label, "capacity": cohorts * size <= self.config.capacity}
        for name, value in (("per_label", size), ("capacity", cohorts * size)):
            if not fits[name]:
                raise ConfigError(
                    f"the saved probes are {cohorts} cohorts of {size}, and the configuration says otherwise",
                    where=f"probes.{name}",
                    mend=f"set it to {value}, or begin with a new state",
                )
        room = self.config.capacity // size
        slots = iter(range(room * size))
        self._labels = {each["label"]: LabelProbes.of(each, slots) for each in state["labels"]}
        self._store = ProbeStore(room * size)
        self._store.load_state_dict(state["store"], self._unpacked_targets(state))
        self._fresh, self._rotation = deque(state["fresh"]), deque(state["rotation"])
        self._pending = [_Evaluation(*each) for each in state["pending"]]
        self._clock, self._largest, self._credit = state["clock"], state["largest"], state["credit"]
        self._room = room - cohorts
        self._extra = sum(max(len(label.cohorts) - 1, 0) for label in self._labels.values())
        self.refused_labels = sum(label.refused for label in self._labels.values())

    def _packed_targets(self) -> dict[str, Any]:
        """Return the probes' labels; nothing where each is its group's name, which is there already."""
        labels = [self._store[slot].label for _, slot in self._slots()]
        if all(label == name for label, (name, _) in zip(labels, self._slots(), strict=True)):
            return {}
        packed = self._judge.targets_packed(labels)
        return {"targets": tensors(packed)}

    def _unpacked_targets(self, state: dict[str, Any]) -> list[Target]:
        if "targets" not in state:
            return [name for name, _ in self._slots()]
        return [each for each in self._judge.targets_unpacked(arrays(state["targets"])) if each is not None]

    def _slots(self) -> list[tuple[str, int]]:
        """Return every probe's label and slot, in the order of labels, cohorts and arrival."""
        labels = self._labels.items()
        return [(name, slot) for name, label in labels for cohort in label.cohorts for slot in cohort.held]

    def _open(self, label: LabelProbes) -> Cohort | None:
        """Return the label's cohort that takes a probe now, a new one where it is due and finds room."""
        for cohort in label.cohorts:
            if not cohort.complete:
                return cohort
        if label.cohorts and (self.config.cohorts == 1 or label.seen < 2 * label.completed_at):
            return None
        if not self._room:
            if not label.cohorts and self._extra:
                crowded = [each for each in self._labels.values() if len(each.cohorts) > 1]
                self._drop(max(crowded, key=lambda each: (len(each.cohorts), each.seen)), -1)
            elif len(label.cohorts) >= max(self.config.cohorts, 2):
                self._drop(label, -1)  # no room for both: the old one goes at once
        if self._room:
            self._room -= 1
            self._extra += bool(label.cohorts)
            label.cohorts.append(Cohort(label.number()))
        elif label.cohorts:
            return None
        self.refused_labels += (not label.cohorts) - label.refused
        label.refused = not label.cohorts
        return label.cohorts[-1] if label.cohorts else None

    def _complete(self, label: LabelProbes, cohort: Cohort) -> None:
        cohort.close()
        if cohort is label.cohorts[-1]:
            label.completed_at = label.seen
            while len(label.cohorts) > self.config.cohorts:
                self._drop(label, -2)

    def _drop(self, label: LabelProbes, place: int) -> None:
        """Give up one of several cohorts of a label."""
        for slot in label.cohorts.pop(place).held:
            self._store.release(slot)
        self._room += 1
        self._extra -= 1

    def _take(self, name: str, spent: set[int]) -> bool:
        """Put the next evaluation of the label at the end of the rotation into `_pending`.

        Returns whether the rotation went on: not where a probe of it is `spent`, in this batch already.
        """
        label = self._labels[name]
        cohorts = [cohort for cohort in label.cohorts if cohort.slots]
        if not cohorts:
            self._rotation.pop()
            label.queued = False
            return True
        cohort = cohorts[label.turn % len(cohorts)]
        slots, turn = cohort.next(self._fold)
        if not spent.isdisjoint(slots):
            return False
        spent.update(slots)
        cohort.turn, label.turn, label.at = turn, label.turn + 1, self._clock
        self._credit -= len(slots)
        self._pending.append(
            _Evaluation(name, cohort.number, cohort.complete, [self._store[slot].id for slot in slots])
        )
        return True
