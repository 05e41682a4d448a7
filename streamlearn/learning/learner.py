"""The learner: the only place where weights change."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from streamlearn.core import rng
from streamlearn.core.batch import Batch, Sample, pad
from streamlearn.core.errors import ConfigError
from streamlearn.core.timing import Stages
from streamlearn.learning.config import LearnerConfig
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.new_class import initialise_rows
from streamlearn.learning.novelty import ConformalNovelty, energy
from streamlearn.learning.penalties.base import Penalty
from streamlearn.learning.sample_queue import SampleQueue
from streamlearn.learning.step import Step
from streamlearn.learning.strategies.base import Strategy
from streamlearn.model.model import Model, digest
from streamlearn.model.tasks.base import Task
from streamlearn.model.trainable_top import stack_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Update:
    """What one update did. `loss` is the mean over its steps; `skipped` counts steps whose loss or gradient was not
    finite: they left the weights as they were."""

    samples: int
    replayed: int
    steps: int
    skipped: int
    loss: float


class Learner:
    """Collects samples, and learns them in batches cut by count, in the order in which they came.

    Args:
        config: see `LearnerConfig`.
        model: its head grows with the task's labels.
        task: the loss, and what labels mean.
        strategy: how a batch becomes a loss.
        memory: what is rehearsed.
        seed: of the rehearsal and of dropout.
        stages: takes the time of the parts.
        correctable: of how many samples, the last ones, a closed form is to be able to take the label back.
        penalties: are added to the strategy's loss, where it has one.

    Raises:
        ConfigError: the strategy cannot learn the task.
    """

    def __init__(
        self, config: LearnerConfig, model: Model, task: Task, strategy: Strategy, memory: ReplayMemory,
        *, seed: int, stages: Stages, correctable: int = 0, penalties: Sequence[Penalty] = (),
    ) -> None:  # fmt: skip
        self.config, self.model, self.task, self.strategy, self.memory = config, model, task, strategy, memory
        self.seed, self.stages = seed, stages
        # Where the encoder stands still there is nothing to hold.
        self.penalties = tuple(penalties) if strategy.descends and not strategy.frozen else ()
        if strategy.needs_classes and not task.classes:
            raise ConfigError(
                "this strategy needs a task of classes, and the task has none",
                where="strategy, task",
                mend="`streamlearn config check` names those that can",
            )
        self.step = 0
        self.queue = SampleQueue(config.batch_size)
        self.novelty = ConformalNovelty()
        model.head.grow(task.outputs)
        freeze(model, config)
        strategy.bind(model, seed, correctable=correctable)
        self.optimizer = _optimizer(config, model, frozen=strategy.frozen)

    @property
    def stopped(self) -> bool:
        """Whether `learner.max_steps` was reached."""
        return self.config.max_steps is not None and self.step >= self.config.max_steps

    @property
    def waiting(self) -> Sequence[Sample]:
        """The samples that wait for a full batch."""
        return self.queue.samples

    def add(self, samples: Sequence[Sample]) -> list[Update]:
        """Take samples in; learn every batch that is now full, and keep the rest waiting."""
        self.queue.add(samples)
        updates = []
        while not self.stopped and (batch := self.queue.next_batch()):
            updates.append(self.update(batch))
        return updates

    def add_unlabelled(self, events: Sequence[Sample]) -> None:
        """Take in events without a label, for a strategy that learns from them; their labels mean nothing."""
        if self.stopped:
            self.queue.unlabelled = []
            return
        self.queue.add_unlabelled(events)
        while part := self.queue.next_unlabelled():
            tokens, nothing = pad([each.tokens for each in part]), np.zeros(len(part), np.int64)
            with self.stages("learn"), torch.no_grad():
                self.strategy.learn_unlabelled(self.next_step(), Batch(tokens, nothing, [each.id for each in part]))

    def flush(self) -> list[Update]:
        """Learn what waits now, though the batch is not full."""
        if self.stopped or not self.waiting:
            return []
        return [self.update(self.queue.flush())]

    def give_up(self) -> int:
        """Let go of what waits, once learning has stopped; return how many samples that were."""
        return self.queue.drop() if self.stopped else 0

    def drop(self) -> int:
        """Let go of what waits; return how many samples that were."""
        return self.queue.drop()

    def update(self, samples: Sequence[Sample]) -> Update:
        """Learn one batch.

        1. The task encodes the targets, and may find new classes there; the head gets a row for each.
        2. The strategy makes the loss, rehearsing from the memory; one optimizer step, unless loss or gradient is not
           finite. A strategy with a closed form has no loss: taking the batch in is its step.
        3. What has a closed form takes the batch in; how novel its samples were is noted. If any of the steps was
           taken, the batch is offered to the memory.
        4. Penalties whose time has come take the model as it is now for the past.
        """
        known = self.model.head.size
        labels = self.task.encode([sample.label for sample in samples])  # 1
        self.model.head.grow(self.task.outputs, self.optimizer)
        tokens, groups = pad([sample.tokens for sample in samples]), self.task.group_numbers(labels)
        batch = Batch(tokens, labels, [sample.id for sample in samples], groups=None if groups is labels else groups)
        initialises = self.task.classes and self.strategy.descends and not self.strategy.frozen
        if self.config.new_class == "mean" and initialises:
            initialise_rows(self.model, batch, known)
        before = self.step
        losses: list[float] = []
        noted: dict[str, float] = {}
        first: torch.Tensor | None = None  # the scores of the first forward pass, its new samples first
        replayed = 0
        tried = 0
        while tried < self.config.steps_per_batch and not self.stopped:  # 2
            tried += 1
            step = self.next_step()
            loss = self._descend(step, batch)
            first = step.notes.scores if first is None else first
            if loss is None:  # nothing to descend: taking the batch in is the step
                self.step, self.model.trained = self.step + 1, True
                losses.append(0.0)
                break
            if math.isfinite(loss):
                losses.append(loss)
                replayed += step.notes.replayed
                noted |= step.notes.losses
        with self.stages("learn"), torch.no_grad():  # 3
            self.strategy.absorb(self.next_step(), batch, self.memory)
            novelty_scores = self.strategy.novelty_scores()
            if novelty_scores is None and first is not None and known:
                novelty_scores = energy(first[: len(batch), :known])  # as it was served: without its new classes
            self.novelty.learn(novelty_scores, groups)
        if losses and (self.strategy.rehearses or any(penalty.remembers for penalty in self.penalties)):
            with self.stages("remember"):
                self.memory.note(noted)  # what gives way is decided by the newest losses
                self.memory.insert(batch, rng.stream(self.seed, "memory", self.step), self.strategy.stored())
                self.memory.note(noted)
        for penalty in self.penalties:  # 4
            if before // penalty.config.every < self.step // penalty.config.every:
                with self.stages("learn"):
                    penalty.consolidate(self.next_step(), self.memory)
        taken = len(losses)
        mean = sum(losses) / taken if taken else math.nan
        return Update(len(samples), replayed, taken, tried - taken, mean)

    def next_step(self) -> Step:
        """Return what a strategy and penalties may ask during the next step."""
        return Step(
            self.model,
            self.task,
            number=self.step,
            seed=self.seed,
            replay_size=self.config.replay_size,
            watches_losses=self.memory.policy.watches_losses,
            stages=self.stages,
        )

    def sha256(self) -> str:
        """Return the digest of all that answers: the weights, and the statistics of what has a closed form."""
        weights = dict(self.model.named_parameters())
        return digest({**weights, **statistics(self.strategy.state_dict())}, self.model.head.size)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return all that learning depends on, in parts: weights that are trained, weights that stand still, the
        optimizer's moments, the memory, what strategy and penalties know, and the rest. Tensors are the live ones:
        write them before the next step."""
        trained, weights = self._trained_names(), dict(self.model.named_parameters())
        moments = [self.optimizer.state.get(parameter, {}) for parameter in self.trained()]
        own = {
            "step": self.step,
            "optimizer": self.config.optimizer,
            "trained": self.model.trained,
            "rows": self.model.head.size,
            **self.queue.state_dict(),
        }
        tasks = self.task.state_dict()
        assert own.keys().isdisjoint(tasks), f"a task keeps nothing under {sorted(own.keys() & tasks)}"
        return {
            "weights": {name: tensor.detach() for name, tensor in weights.items() if name in trained},
            "frozen": {name: tensor.detach() for name, tensor in weights.items() if name not in trained},
            "optimizer": {str(number): dict(state) for number, state in enumerate(moments)},
            "memory": self.memory.state_dict(),
            "strategy": self.strategy.state_dict(),
            "recent": self.strategy.recent.state_dict(),
            "usual": self.novelty.state_dict(),
            "penalties": {self._name(penalty): penalty.state_dict() for penalty in self.penalties},
            "learner": {**own, **tasks},
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a learner of the same configuration returned.

        Raises:
            ConfigError: it was written with other labels, another model, memory or strategy, or another part of the
                model was trained.
        """
        self._check(state)
        own = state["learner"]
        self.task.load_state_dict(own)
        self.model.head.grow(own["rows"], self.optimizer)
        weights = {**state["weights"], **state["frozen"]}
        if self._trained_names() != set(state["weights"]) or not self.model.load_weights(weights):
            raise ConfigError(
                "the snapshot holds the weights of another model, or of one of which another part is trained",
                where="model.name, learner.freeze, strategy",
                mend="go on with the configuration that wrote it, or give the changed learner a new `name`",
            )
        same = own["optimizer"] == self.config.optimizer
        if not same:
            log.warning("learner.optimizer: %s begins anew, after %s", self.config.optimizer, own["optimizer"])
        for number, parameter in enumerate(self.trained()):
            moments = state["optimizer"][str(number)] if same else {}
            self.optimizer.state.pop(parameter, None)
            if moments:
                self.optimizer.state[parameter] = {
                    name: value.clone().to(parameter.device) for name, value in moments.items()
                }
        self.memory.load_state_dict(dict(state["memory"]))
        self.strategy.load_state_dict(state["strategy"])
        self.strategy.recent.load_state_dict(state["recent"])
        for penalty in self.penalties:
            if self._name(penalty) in state["penalties"]:
                penalty.load_state_dict(state["penalties"][self._name(penalty)], self.model.device)
            else:  # it was added to the configuration since
                log.warning("penalties: %s begins anew, since the snapshot has none", self._name(penalty))
        self.novelty.load_state_dict(state["usual"])
        self.step, self.model.trained = int(own["step"]), bool(own["trained"])
        self.queue.load_state_dict(own)

    def _check(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        memory = state["memory"]
        if len(memory["ids"]) > self.memory.capacity or memory["tokens"].shape[1] != self.memory.width:
            raise ConfigError(
                f"the snapshot's memory has {len(memory['ids'])} samples of up to {memory['tokens'].shape[1]} tokens",
                where="memory.capacity, model.max_length",
                mend="go on with the values that wrote it, or give the changed learner a new `name`",
            )
        if set(state["strategy"]) != set(self.strategy.state_dict()):
            raise ConfigError(
                "the snapshot holds the statistics of another strategy",
                where="strategy",
                mend="go on with the strategy that wrote it, or give the changed learner a new `name`",
            )

    def _name(self, penalty: Penalty) -> str:
        return f"{type(penalty).__name__}.{self.penalties.index(penalty)}"

    def _descend(self, step: Step, batch: Batch) -> float | None:
        """Take one optimizer step and return its loss; a loss or gradient that is not finite takes none (nan)."""
        with self.stages("learn"), self._dropout():
            losses = self.strategy.loss(step, batch, self.memory)
            if not losses:
                return None
            held = [value for each in self.penalties for value in each.penalty(step, batch).values()]
            loss = torch.stack([*losses.values(), *held]).sum()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.trained(), self.config.clip_norm)
            value = float(loss.detach())
            if not (math.isfinite(value) and math.isfinite(float(norm))):
                self.optimizer.zero_grad(set_to_none=True)
                return math.nan
            self.optimizer.step()
            self.step += 1
            self.model.trained = True
        return value

    def _trained_names(self) -> set[str]:
        trained = {id(parameter) for parameter in self.trained()}
        return {name for name, parameter in self.model.named_parameters() if id(parameter) in trained}

    def trained(self) -> list[nn.Parameter]:
        """Return the parameters that a step may move."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @contextmanager
    def _dropout(self) -> Iterator[None]:
        """Seed torch's generator for this step alone; without dropout nothing draws from it."""
        if not self.config.dropout:
            yield
            return
        device = self.model.device
        learning = self.model.branch if self.strategy.frozen else self.model
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(rng.torch_seed(self.seed, "dropout", self.step))
            if learning is not None:
                learning.train()
            try:
                yield
            finally:
                self.model.eval()


def statistics(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return what a strategy answers from, of its `state_dict`, under the names that its digest has."""
    return {f"strategy.{name}": value for name, value in state.items() if isinstance(value, torch.Tensor)}


def freeze(model: Model, config: LearnerConfig) -> None:
    """Choose what is trained: sets `requires_grad` of every parameter of the backbone."""
    backbone = model.backbone
    model.requires_grad_(True)
    if config.freeze == "encoder":
        backbone.requires_grad_(False)
    if not config.train_embeddings:
        backbone.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
    if config.freeze == "layers":
        layers = stack_of(backbone)
        if layers is None:
            raise ConfigError(
                "this model has no stack of layers", where="learner.freeze", mend="set it to none or encoder"
            )
        for layer in layers[: config.frozen_layers]:
            layer.requires_grad_(False)
        first = next(layers[0].parameters())
        for parameter in backbone.parameters():  # what comes before the first layer: embeddings of all kinds
            if parameter is first:
                break
            parameter.requires_grad_(False)


def _optimizer(config: LearnerConfig, model: Model, *, frozen: bool) -> torch.optim.Optimizer:
    # Frozen weights keep `requires_grad`: autocast casts those once for all slices, and the others for each of them.
    body = model.branch if frozen else model.backbone
    trained = [each for each in body.parameters() if each.requires_grad] if body is not None else []
    groups = [
        {"params": trained, "lr": config.learning_rate},
        {"params": list(model.head.parameters()), "lr": config.head_learning_rate},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
