"""One step of learning: what strategies and penalties may ask while it is taken, and what it leaves behind."""

from dataclasses import dataclass, field

import torch

from streamlearn.core import rng
from streamlearn.core.batch import Batch
from streamlearn.core.timing import Stages
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.model.model import Model
from streamlearn.model.tasks.base import Task


@dataclass(slots=True)
class StepNotes:
    """What the learner wants to know of a step, beside its loss.

    Args:
        replayed: stored samples that were rehearsed.
        losses: of single samples, by id; empty unless the memory's policy watches them.
        scores: of the first forward pass, (n, classes), the new samples first; None where there was none.
    """

    replayed: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    scores: torch.Tensor | None = None


class Step:
    """What is handed to a strategy and to penalties, see `Rehearsing`: made for one step, and gone with it.

    Args:
        model: what learns.
        task: the loss, and what labels mean.
        number: of the steps that were taken before.
        seed: of the rehearsal.
        replay_size: how many stored samples a rehearsal draws.
        watches_losses: whether `notes` keeps the losses of single samples.
        stages: takes the time of the rehearsal.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        *,
        number: int,
        seed: int,
        replay_size: int,
        watches_losses: bool,
        stages: Stages,
    ) -> None:
        self.model, self.task, self.number, self.seed = model, task, number, seed
        self.notes = StepNotes()
        self._replay_size, self._watches_losses, self._stages = replay_size, watches_losses, stages

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the model's scores for the batch, with gradients: (n, classes)."""
        scores: torch.Tensor = self.model(batch.tokens)
        if self.notes.scores is None:
            self.notes.scores = scores.detach()
        self.seen(batch, scores)
        return scores

    def seen(self, batch: Batch, scores: torch.Tensor) -> None:
        """Take note of scores (n, classes) that did not come from `forward`, for policies that watch losses."""
        if self._watches_losses:
            losses = self.task.losses(scores.detach(), self.labels(batch))
            self.notes.losses.update(zip(batch.ids, losses.tolist(), strict=True))

    def labels(self, batch: Batch) -> torch.Tensor:
        """Return the batch's labels, as the task encodes them, on the model's device: (n, ...)."""
        return torch.from_numpy(batch.labels).to(self.model.device)

    def rehearse(self, memory: ReplayMemory, batch: Batch, draw: int = 0) -> Batch:
        """Draw this step's share of stored samples; each number of `draw` is another draw of the same step."""
        purpose = f"rehearse.{draw}" if draw else "rehearse"
        with self._stages("rehearse", within="learn"):
            stream = rng.stream(self.seed, purpose, self.number)
            replay = memory.sample(self._replay_size, stream, batch.group_numbers)
        self.notes.replayed += len(replay)
        return replay
