"""Ridge regression that learns from events without a label too: a teacher guesses, a student learns the guesses.

Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML workshop
2013; a teacher that learned labels alone, and guesses that are made anew once it knows more: Xie et al., "Self-training
with noisy student improves ImageNet classification", CVPR 2020 (arXiv 1911.04252).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import torch
from torch.nn import functional

from streamlearn.core.vocabulary import NONE
from streamlearn.learning.closed_form.class_means import ClassMeans
from streamlearn.learning.closed_form.least_squares import LeastSquares
from streamlearn.learning.closed_form.ridge_head import RidgeHead

WEIGHT = 0.3  # of an event beside one with a label
GROWTH = 20  # guesses are made anew once labels have grown by one for so many
LEAST = 64  # and at least by so many
CHUNK = 512  # guesses at once


class SelfTrainingHead(RidgeHead):
    """A `RidgeHead` with a second regression, which answers, and has learned guesses beside the labels.

    The teacher is the regression that learned labels alone, so a wrong guess does not confirm itself. Every guess
    counts, sure or not: those of which the teacher is sure bring nothing that it does not know, and harm the classes
    that are hard. The last `capacity` events are kept as hidden states in float16, and are guessed anew as labels come;
    what a guess had changed is taken back exactly, up to rounding. Of older ones the last guess stays.

    Args:
        capacity: events.
        of: what `RidgeHead` takes.
    """

    def __init__(self, *of: Any, capacity: int, **settings: Any) -> None:  # noqa: ANN401 - handed on as they are
        super().__init__(*of, **settings)
        own = self.regression
        self.student = LeastSquares(own.size, ridge=own.ridge, device=self.device, dtype=own.weights.dtype)
        self.regressions.append(self.student)
        self.taken = ClassMeans(self.means.sums.shape[1], self.device)  # of guesses
        self.capacity = capacity
        self.learned: OrderedDict[str, int] = OrderedDict()  # the slot of each event, the oldest first
        self._names: list[str] = []  # of the event in each slot
        self.hidden = torch.zeros(0, *self.first_hidden.shape[1:], dtype=torch.float16)
        self.guesses = torch.zeros(0, dtype=torch.int64)
        self.judged = 0.0  # labels when the guesses were made anew

    @property
    def serving(self) -> LeastSquares:
        """The student, once it has learned any guess."""
        return self.student if len(self.taken.counts) else self.regression

    def directions(self) -> torch.Tensor:
        """Return the means of labelled events and guesses, at unit length."""
        missing = len(self.means.counts) - len(self.taken.counts)
        sums = self.means.sums + WEIGHT * functional.pad(self.taken.sums, (0, 0, 0, missing))
        return functional.normalize(sums, dim=1).float()

    def learn_unlabelled(self, ids: Sequence[str], hidden: torch.Tensor) -> None:
        """Learn from events without a label, hidden states (n, L, d); before the centre is fixed nothing is."""
        if not self.settled or not ids:
            return
        self.unlearn_unlabelled(ids)
        last = {sample_id: row for row, sample_id in enumerate(ids)}  # of an id that comes twice
        ids, hidden = list(last), hidden[list(last.values())]
        self.taken.grow(self.classes)
        hidden = hidden.half()  # as it will be read again
        guesses = self._guess(hidden)
        self._change(hidden, guesses, None)
        for sample_id, row, guess in zip(ids, hidden.cpu(), guesses.cpu(), strict=True):
            slot = self._slot(sample_id)
            self.hidden[slot], self.guesses[slot] = row, guess
        self._judge()

    def unlearn_unlabelled(self, ids: Sequence[str]) -> int:
        """Take events back, those that are kept; return how many those were."""
        slots = [self.learned[sample_id] for sample_id in dict.fromkeys(ids) if sample_id in self.learned]
        if slots:
            self._change(self.hidden[slots], None, self.guesses[slots])
            for sample_id in ids:
                self._drop(sample_id)
        return len(slots)

    def release(self, label: int) -> None:
        """Let go of what speaks for a class, guesses too."""
        super().release(label)
        if label < len(self.taken.counts):
            self.taken.clear(label)
        self.guesses[self.guesses == label] = NONE

    def served_copy(self) -> Self:
        """Return a copy that gives the same evidence, and cannot learn: without the events that are kept."""
        copied = super().served_copy()
        copied.student, copied.taken = copied.regression, deepcopy(self.taken)
        copied.learned = OrderedDict()
        copied.hidden, copied.guesses = self.hidden[:0].clone(), self.guesses[:0].clone()
        return copied

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics of both, and the events that are kept."""
        slots = list(self.learned.values())
        return {
            **super().state_dict(),
            **{f"student_{name}": value for name, value in self.student.state_dict().items()},
            **{f"taken_{name}": value for name, value in self.taken.state_dict().items()},
            "heard_ids": list(self.learned),
            "heard_hidden": self.hidden[slots],
            "heard_guesses": self.guesses[slots],
            "judged": self.judged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another returned; of too many events the last."""
        super().load_state_dict(state)
        self.student.load_state_dict({name: state[f"student_{name}"] for name in self.student.state_dict()})
        self.taken.load_state_dict({name: state[f"taken_{name}"] for name in self.taken.state_dict()})
        first = max(0, len(state["heard_ids"]) - self.capacity)
        self._names = list(state["heard_ids"][first:])
        self.learned = OrderedDict((each, at) for at, each in enumerate(self._names))
        self.hidden, self.guesses = state["heard_hidden"][first:].clone(), state["heard_guesses"][first:].clone()
        self.judged = float(state["judged"])

    def _guess(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the teacher takes them for, (n,)."""
        centred, rows = self._rows(hidden.to(self.device).float())
        cosines = centred.flatten(1) @ self.means.directions().T
        return (self.regression.predict(rows).float() + cosines * self._fading()).argmax(1)

    def _change(self, hidden: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None) -> None:
        """Let events speak for new classes in the place of old ones; None stands for not to be learned at all."""
        centred, rows = self._rows(hidden.to(self.device).float())
        rows = rows * WEIGHT**0.5
        targets = []
        for labels, sign in ((new, 1.0), (old, -1.0)):
            target = torch.zeros(len(rows), self.student.weights.shape[1], device=rows.device)
            if labels is not None:
                has = (labels >= 0).nonzero().flatten().to(rows.device)  # else its evidence was dropped before
                classes = labels.to(rows.device)[has]
                target[has, classes] = WEIGHT**0.5
                self.taken.add(centred.flatten(1)[has], classes, sign)
            targets.append(target)
        if old is None:
            self.student.learn(rows, targets[0])
        elif new is None:
            self.student.unlearn(rows, targets[1])
        else:
            self.student.retarget(rows, targets[0] - targets[1])

    def _judge(self) -> None:
        """Guess anew, where enough labels came."""
        labels = float(self.means.counts.sum())
        if labels < self.judged + max(LEAST, self.judged / GROWTH):
            return
        self.judged = labels
        slots = list(self.learned.values())  # as they came: a restart gives them other slots
        for at in range(0, len(slots), CHUNK):
            part = torch.tensor(slots[at : at + CHUNK])
            old, new = self.guesses[part], self._guess(self.hidden[part]).cpu()
            changed = old != new
            if changed.any():
                self._change(self.hidden[part[changed]], new[changed], old[changed])
                self.guesses[part] = new

    def _slot(self, sample_id: str) -> int:
        """Return where an event is to be kept; the oldest one may go for it."""
        self._drop(sample_id)
        if len(self.learned) >= self.capacity:
            slot = self.learned.popitem(last=False)[1]
            self._names[slot] = sample_id
        else:
            slot = len(self.learned)
            self._names.append(sample_id)
            if slot == len(self.guesses):
                more = min(self.capacity, max(64, 2 * slot)) - slot
                self.hidden = torch.cat([self.hidden, self.hidden.new_zeros(more, *self.hidden.shape[1:])])
                self.guesses = torch.cat([self.guesses, self.guesses.new_zeros(more)])
        self.learned[sample_id] = slot
        return slot

    def _drop(self, sample_id: str) -> None:
        """Keep an event no longer; the last slot moves into the hole, and what it held is overwritten."""
        slot = self.learned.pop(sample_id, None)
        if slot is None:
            return
        last, mover = len(self.learned), self._names.pop()
        if slot != last:
            self.learned[mover], self._names[slot] = slot, mover
            self.hidden[slot], self.guesses[slot] = self.hidden[last], self.guesses[last]
        self.hidden[last], self.guesses[last] = 0, 0
