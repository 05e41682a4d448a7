"""What a strategy is: how a batch changes what is known, and what is answered from it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from streamlearn.core.batch import Batch, Tokens
from streamlearn.core.registry import Config as BaseConfig
from streamlearn.core.registry import Nothing
from streamlearn.learning.closed_form.class_means import ClassMeans
from streamlearn.learning.closed_form.recent_features import Kept, RecentFeatures
from streamlearn.learning.novelty import energy
from streamlearn.learning.strategies.exported import Exported, linear, own_head

if TYPE_CHECKING:
    from streamlearn.learning.memory.buffer import ReplayMemory
    from streamlearn.model.model import Model
    from streamlearn.model.tasks.base import Task


class Rehearsing(Protocol):
    """What a strategy or a penalty may ask while a step is taken. `number` counts the steps that were taken before."""

    task: "Task"
    model: "Model"
    number: int
    seed: int

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the model's scores for the batch, with gradients: (n, classes)."""
        ...

    def seen(self, batch: Batch, scores: torch.Tensor) -> None:
        """Take note of scores (n, classes) that did not come from `forward`, for policies that watch losses."""
        ...

    def labels(self, batch: Batch) -> torch.Tensor:
        """Return the batch's labels on the model's device: (n,)."""
        ...

    def rehearse(self, memory: "ReplayMemory", batch: Batch, draw: int = 0) -> Batch:
        """Draw this step's share of stored samples, to be rehearsed beside the new batch; an empty batch while the
        memory is empty. Each number of `draw` is another draw."""
        ...


class Output(NamedTuple):
    """The answer to n events: class scores before softmax, float32 of shape (n, classes), and novelty scores, (n,): the
    higher, the more novel, on a scale that only the strategy knows."""

    scores: torch.Tensor
    novelty_scores: torch.Tensor


class Strategy:
    """The base of all strategies: one that learns nothing and answers with the model's own head.

    A strategy that descends a gradient overrides `loss`; one with a closed form overrides `absorb`, `scores` and
    `exported`, and keeps its statistics in `state_dict`. Whatever it does is a function of the batches in their order,
    and of the counter-based streams of `streamlearn.core.rng`: the journal replays it. `recent` has what was learned
    last, as far as corrections reach; it is none of the statistics.
    """

    rehearses: ClassVar[bool] = True  # what it learned is stored in the memory
    descends: ClassVar[bool] = True  # `loss` returns something that the optimizer can take a step on

    needs_classes: ClassVar[bool] = False  # it reads the batch's labels as numbers of classes
    frozen: ClassVar[bool] = False  # the encoder stands still; what is trained are the head, and the model's branch

    Config: ClassVar[type[BaseConfig]] = Nothing

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - each strategy's own Config
        self.config = config
        self.recent = RecentFeatures(0)

    def bind(self, model: "Model", seed: int, *, correctable: int = 0) -> None:
        """Prepare for the model that it works on: once, before anything is learned.

        Args:
            model: what it reads.
            seed: of whatever it draws.
            correctable: of how many samples, the last ones, it is to be able to take a label back.
        """
        del model, seed
        self.recent = RecentFeatures(correctable)

    def scores(self, model: "Model", tokens: Tokens) -> torch.Tensor:
        """Return class scores before softmax, float32 of shape (n, classes), for serving."""
        scores: torch.Tensor = model(tokens)
        return scores

    def answer(self, model: "Model", tokens: Tokens) -> Output:
        """Return the class scores, and novelty scores: the energy of the class scores."""
        scores = self.scores(model, tokens)
        return Output(scores, energy(scores))

    def novelty_scores(self) -> torch.Tensor | None:
        """Return the novelty scores that the batch had just before it was absorbed, (n,), nan where one is not known.

        None leaves it to the energy of the class scores that the batch had in its first forward pass.
        """
        return None

    def exported(self, model: "Model") -> Exported:
        """Return what `scores` and `answer` answer from, so that others get the same probabilities from it."""
        return Exported("linear", own_head(model))

    def loss(self, step: Rehearsing, batch: Batch, memory: "ReplayMemory") -> dict[str, torch.Tensor]:
        """Return named scalar losses; the learner minimises their sum. Without any there is no optimizer step."""
        del step, batch, memory
        return {}

    def absorb(self, step: Rehearsing, batch: Batch, memory: "ReplayMemory") -> None:
        """Take in a batch without a gradient, once, after its optimizer steps and before it is offered to the memory.

        The labels' numbers are below `step.task.outputs`, which may have grown since the last batch.
        """

    @property
    def learns_unlabelled(self) -> bool:
        """Whether it learns from events without a label."""
        return False

    def learn_unlabelled(self, step: Rehearsing, batch: Batch) -> None:
        """Learn from events without a label; the batch's labels mean nothing."""
        raise NotImplementedError

    def correct(self, sample_id: str, label: int, classes: int) -> bool:
        """Let a sample that was absorbed speak for another label, of `classes` known ones, if `recent` still has it.

        Returns whether it does. What descends a gradient cannot take back anything.
        """
        del sample_id, label, classes
        return False

    def forget(self, ids: Sequence[str]) -> int:
        """Take samples that were absorbed out again, those that `recent` still has; return how many those are."""
        del ids
        return 0

    def stored(self) -> npt.NDArray[np.float32] | None:
        """Return what the memory is to keep with each sample of the batch that was learned, (n, classes); None where
        nothing is."""
        return None

    def served_copy(self) -> Self:
        """Return a copy that answers as this one does now, whatever this one learns. It need not be able to learn: one
        that keeps much that no answer reads overrides this, and leaves that out."""
        return deepcopy(self, {id(self.recent): RecentFeatures(0)})

    def state_dict(self) -> dict[str, Any]:
        """Return its state, as live tensors and JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a strategy of the same configuration returned."""
        assert not state, sorted(state)


def finite(features: torch.Tensor) -> torch.Tensor:
    """Return which rows hold finite numbers alone, (n,): statistics would keep any other for ever."""
    return features.flatten(1).isfinite().all(1)


def placed(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the values (m,) of some rows at their places among all, (n,), with nan for the others."""
    whole = values.new_full((len(rows),), torch.nan)
    whole[rows] = values
    return whole


class ClosedForm(Strategy, ABC):
    """The base of strategies that keep statistics of a frozen encoder: no gradient, no rehearsal, nothing forgotten.

    `absorb` sets `batch_novelty` to the novelty scores of the batch just before it is learned, or to None.
    """

    rehearses = False
    descends = False
    needs_classes = True
    frozen = True

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - see Strategy
        super().__init__(config)
        self.batch_novelty: torch.Tensor | None = None

    def novelty_scores(self) -> torch.Tensor | None:
        """Return what `absorb` noted of the last batch."""
        return self.batch_novelty

    def correct(self, sample_id: str, label: int, classes: int) -> bool:
        """Take the sample out with the label that it was learned with, and in with the other."""
        kept = self.recent.correct(sample_id, label)
        if kept is not None and kept.label != label:
            self.relearn(kept, label, classes)
        return kept is not None

    def forget(self, ids: Sequence[str]) -> int:
        """Take the samples out with the labels that they were learned with."""
        found = [kept for sample_id in ids if (kept := self.recent.forget(sample_id)) is not None]
        if found:
            self.unlearn(found)
        return len(found)

    @abstractmethod
    def relearn(self, kept: Kept, label: int, classes: int) -> None:
        """Let a sample that was learned speak for another class."""

    @abstractmethod
    def unlearn(self, found: Sequence[Kept]) -> None:
        """Take samples that were learned out of the statistics, one after the other."""

    def remember(self, batch: Batch, rows: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep what was just learned of those `rows` of the batch that are true."""
        if self.recent.size:
            ids = [sample_id for sample_id, kept in zip(batch.ids, rows.tolist(), strict=True) if kept]
            self.recent.add(ids, features, labels)


class ClassMeansForm(ClosedForm):
    """The base of closed forms that keep class means of features at unit length, and answer by a linear map of them."""

    def bind(self, model: "Model", seed: int, *, correctable: int = 0) -> None:
        """Make room for the model's features."""
        super().bind(model, seed, correctable=correctable)
        self.means = ClassMeans(model.width, model.device)

    def scores(self, model: "Model", tokens: Tokens) -> torch.Tensor:
        """Return the scores of `discriminants`, once there is a class mean."""
        if not len(self.means.counts):
            return super().scores(model, tokens)  # a fine-tuned checkpoint knows something before the first label
        return padded(self.discriminants(unit_features(model, tokens)), model.head.size)

    def exported(self, model: "Model") -> Exported:
        """Return the linear map of `discriminants`."""
        if not len(self.means.counts):
            return super().exported(model)
        return Exported("unit", linear(*self.linear_map(), model.head.size))

    def absorb(self, step: Rehearsing, batch: Batch, memory: "ReplayMemory") -> None:
        """Note how novel the batch is, and learn it."""
        del memory
        features = unit_features(step.model, batch.tokens)
        self.batch_novelty = energy(self.discriminants(features)) if len(self.means.counts) else None
        self.means.grow(step.task.outputs)
        rows = finite(features)
        features, labels = features[rows], step.labels(batch)[rows]
        self.learn(features, labels)
        self.remember(batch, rows, features, labels)

    @abstractmethod
    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in features (n, d) at unit length with labels (n,)."""

    @abstractmethod
    def discriminants(self, features: torch.Tensor) -> torch.Tensor:
        """Return class scores before softmax, (n, known classes), of features (n, d) at unit length."""

    @abstractmethod
    def linear_map(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight (known classes, d) and bias (known classes,) of `discriminants`; None is a bias of zeros."""

    def state_dict(self) -> dict[str, Any]:
        """Return the means."""
        return self.means.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's means."""
        self.means.load_state_dict(state)


def unit_features(model: "Model", tokens: Tokens) -> torch.Tensor:
    """Return what the head reads at unit length, float32 of shape (n, d)."""
    return functional.normalize(model.features(tokens).float(), dim=1)


def padded(scores: torch.Tensor, classes: int) -> torch.Tensor:
    """Return scores (n, classes), with zeros for classes that a checkpoint knows and no sample has shown yet."""
    return functional.pad(scores, (0, classes - scores.shape[1]))
