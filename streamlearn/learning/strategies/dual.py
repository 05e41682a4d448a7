"""A closed-form head that forgets nothing beside a rehearsed one that adapts, answering together.

The closed form is ridge regression on random features (McDonnell et al., "RanPAC", NeurIPS 2023, arXiv 2307.02251) of
several layers of a frozen encoder. Beside it the encoder's upper half is copied and fine-tuned with experience replay
(Chaudhry et al., 2019, arXiv 1902.10486), as often as that pays.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import torch

from streamlearn.core.batch import Batch, Tokens, concat, pad
from streamlearn.learning.closed_form.class_drift import ESTABLISHED, ClassDrift
from streamlearn.learning.closed_form.rehearsal_schedule import RehearsalSchedule
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.novelty import energy
from streamlearn.learning.strategies.base import Output, Rehearsing, finite, padded, placed
from streamlearn.learning.strategies.exported import Exported, own_head
from streamlearn.learning.strategies.family import DualConfig
from streamlearn.learning.strategies.ridge import Ridge, some
from streamlearn.model.model import Model
from streamlearn.model.trainable_top import TrainableTop, norm_after, stack_of

log = logging.getLogger(__name__)

NEGLIGIBLE = 0.02  # a weight of the rehearsed head below this changes no answer worth its time


class Before(NamedTuple):
    """What `loss` saw of a batch before its first step, for `absorb` of the same batch: hidden states and scores."""

    batch: Batch
    hidden: torch.Tensor
    scores: torch.Tensor


class Dual(Ridge):
    """Closed-form and rehearsed head, weighted by what they would have answered just before they learned it."""

    rehearses = True
    descends = True

    Config = DualConfig

    def __init__(self, config: DualConfig) -> None:
        super().__init__(config)
        self.rehearsal, self.class_drift = RehearsalSchedule(), ClassDrift()
        self.due = config.rehearsal == "always"
        self._before: Before | None = None

    def bind(self, model: Model, seed: int, *, correctable: int = 0) -> None:
        """Make the head, and copy the encoder's upper half."""
        super().bind(model, seed, correctable=correctable)
        if model.labels:  # a fine-tuned checkpoint: its own head knows something from the start
            self.fusion.weights[2] = 1.0
        elif self.config.rehearsal != "never":
            model.branch = branch_of(model)

    def answer(self, model: Model, tokens: Tokens) -> Output:
        """Return the scores of both heads together, and the novelty scores that the closed form sees; a rehearsed head
        of no weight costs nothing."""
        hidden, top = model.hidden_states(tokens, self.layers, branch=self._is_blended)
        evidence = self.head.evidence(hidden)
        size = model.head.size
        wide = evidence._replace(ridge=padded(evidence.ridge, size), prototype=padded(evidence.prototype, size))
        scores = self.fusion.combine(wide, model.head(top).log_softmax(1) if self._is_blended else None)
        return Output(scores, evidence.novelty_scores if self.head.classes else energy(scores))

    def exported(self, model: Model) -> Exported:
        """Return the regression, and beside it the rehearsed head, times its weight, unless that is negligible.

        What a log-softmax subtracts is the same for each class, so the probabilities are the same without it.
        """
        folded = self._folded(model)
        if not self._is_blended:
            return folded
        rehearsed = {f"rehearsed.{name}": self.fusion.rehearsed * each for name, each in own_head(model).items()}
        return replace(folded, tensors={**folded.tensors, **rehearsed}, branch=model.branch is not None)

    def loss(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> dict[str, torch.Tensor]:
        """Return the rehearsed head's mean loss over new and stored samples, when it is its turn."""
        if not self.due:
            return {}
        joint = concat(batch, step.rehearse(memory, batch))
        hidden, top = step.model.hidden_states(joint.tokens, self.layers, branch=True)
        scores = step.model.head(top)
        step.seen(joint, scores)
        if self._before is None or self._before.batch is not batch:
            self._before = Before(batch, hidden[: len(batch)], scores[: len(batch)].detach())
        return {"joint": step.task.loss(scores, step.labels(joint))}

    def absorb(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> None:
        """Take the batch into the closed form.

        1. See what would have been answered before any of it was learned.
        2. Learn from that: the weights, whether to rehearse, and which evidence has become wrong and is dropped.
        3. Learn the batch.
        """
        del memory
        hidden, rehearsed = self._answers(step, batch)  # 1
        rows = finite(hidden)
        hidden, labels = hidden[rows], step.labels(batch)[rows]
        self.unlearn_unlabelled(batch.ids)
        self.batch_novelty = None
        if known := self.head.classes:
            if rehearsed is not None:
                rehearsed = rehearsed[rows][:, :known].log_softmax(1)
            evidence = self.head.evidence(hidden)
            self.batch_novelty = placed(evidence.novelty_scores, rows)
            alone = self.fusion.combine(evidence, None).argmax(1)
            self._judge(alone, self.fusion.combine(evidence, rehearsed).argmax(1), labels, asked=rehearsed is not None)
            seen = labels < known  # 2
            others = rehearsed[seen] if rehearsed is not None else None
            self.fusion.learn(some(evidence, seen), others, labels[seen])
            for label in self.class_drift.update(alone.tolist(), labels.tolist()):
                name = step.task.groups[label]
                log.warning("%s: what it meant goes by another label now; its old evidence is dropped", name)
                self.head.release(label)
                self.recent.drop(label)
        self.head.learn(hidden, labels, step.task.outputs)  # 3
        self.remember(batch, rows, hidden, labels)
        self.due = self.config.rehearsal == "always" or (self.config.rehearsal == "auto" and self.rehearsal.next())

    @property
    def _is_blended(self) -> bool:
        """Whether the rehearsed head weighs enough in an answer to be worth its time."""
        return self.fusion.rehearsed > NEGLIGIBLE

    def _answers(self, step: Rehearsing, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the batch's hidden states, and the rehearsed head's scores from before its step.

        A head that weighs in what is served is asked though it is not trained, or it would keep that weight for ever.
        """
        before, self._before = self._before, None
        if before is not None and before.batch is batch:
            return before.hidden, before.scores
        hidden, top = step.model.hidden_states(batch.tokens, self.layers, branch=self._is_blended)
        return hidden, step.model.head(top) if self._is_blended and not self.due else None

    def _judge(self, alone: torch.Tensor, both: torch.Tensor, labels: torch.Tensor, *, asked: bool) -> None:
        """Tell the rehearsal schedule what the closed form alone would have got right, and what both together."""
        right, together = (alone == labels).tolist(), (both == labels).tolist()
        established = [self.class_drift.seen_of(label) >= ESTABLISHED for label in labels.tolist()]
        self.rehearsal.update(right, together if asked else None, established, trained=self.due)

    def served_copy(self) -> Self:
        """Return a copy without what only learning asks for."""
        copied = super().served_copy()
        copied.rehearsal, copied.class_drift = RehearsalSchedule(), ClassDrift()
        return copied

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics, and what was learned of the two heads."""
        return {
            **super().state_dict(),
            **self.rehearsal.state_dict(),
            **self.class_drift.state_dict(),
            "due": self.due,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's statistics."""
        super().load_state_dict(state)
        self.rehearsal.load_state_dict(state)
        self.class_drift.load_state_dict(state)
        self.due = bool(state["due"])


def branch_of(model: Model) -> TrainableTop | None:
    """Return a copy of the encoder's upper half, if going through it gives what the encoder gives."""
    stack = stack_of(model.backbone)
    if stack is not None:
        endings = [None, norm] if (norm := norm_after(model.backbone, stack)) else [None]
        for ending in endings:
            model.branch = TrainableTop(stack, max(1, len(stack) // 2), ending).to(model.device)
            if _is_faithful(model):
                return model.branch
    log.warning("this architecture's upper layers cannot be copied: only the head is rehearsed, on the frozen encoder")
    return None


def _is_faithful(model: Model) -> bool:
    tokens = pad(model.tokenize(["a", "a few words more"])[0])
    try:
        with torch.no_grad():
            (_, first), (_, second) = model.hidden_states(tokens, (0,)), model.hidden_states(tokens, (0,), branch=True)
    except Exception as error:  # noqa: BLE001 - whatever a foreign layer throws when it is called out of its place
        log.debug("the copied layers cannot be called: %s", error)
        return False
    return torch.allclose(first, second, atol=1e-2)
