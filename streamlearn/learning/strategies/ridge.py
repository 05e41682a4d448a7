"""Ridge regression on random features of a frozen encoder, one sample after the other and on several layers.

McDonnell et al., "RanPAC: random projections and pre-trained models for continual learning", NeurIPS 2023 (arXiv
2307.02251).
"""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, ClassVar, Self

import torch

from streamlearn.core.batch import Batch, Tokens, pad
from streamlearn.core.errors import ConfigError
from streamlearn.learning.closed_form import RidgeHead, SelfTrainingHead
from streamlearn.learning.closed_form.fusion import Fusion
from streamlearn.learning.closed_form.recent_features import Kept, RecentFeatures
from streamlearn.learning.closed_form.ridge_head import Evidence
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.novelty import energy
from streamlearn.learning.strategies.base import ClosedForm, Output, Rehearsing, finite, padded, placed
from streamlearn.learning.strategies.exported import Exported, linear
from streamlearn.learning.strategies.family import ClosedFormConfig, RidgeConfig
from streamlearn.model.model import Model


def closed_form(config: ClosedFormConfig, model: Model, seed: int) -> tuple[tuple[int, ...], RidgeHead]:
    """Return the layers that are read, and the head that reads them.

    Raises:
        ConfigError: the encoder has no such layers, or tells nothing of them.
    """
    depth, width = _hidden(model)
    if config.layers is not None and not all(0 <= layer <= depth for layer in config.layers):
        raise ConfigError(
            f"the encoder has hidden states 0 to {depth}, and not {max(config.layers, key=abs)}",
            where="strategy.layers",
            mend="name those that it has",
        )
    default = (round(depth / 3), round(2 * depth / 3), round(5 * depth / 6), depth)
    layers = config.layers or tuple(sorted({max(1, layer) for layer in default}))
    features = config.features or min(6144, 4 * len(layers) * width)
    dtype = torch.float64 if config.dtype == "float64" else torch.float32
    of: Any = {"ridge": config.ridge, "seed": seed, "device": model.device, "dtype": dtype}
    if config.unlabelled:
        return layers, SelfTrainingHead(len(layers), width, features, capacity=config.unlabelled, **of)
    return layers, RidgeHead(len(layers), width, features, **of)


def _hidden(model: Model) -> tuple[int, int]:
    """Return how many hidden states the encoder has beside its embeddings, and how wide they are: by a look at them."""
    hf: Any = model.backbone.config
    try:
        depth = int(hf.num_hidden_layers)
        hidden, _ = model.hidden_states(pad(model.tokenize(["a"])[0]), (0, depth))
    except Exception as error:  # whatever a foreign architecture throws, or has not
        raise ConfigError(
            f"{type(model.backbone).__name__} does not give the hidden states of its layers",
            where="strategy",
            mend="take one that reads the last layer alone, such as er, or a model that is an encoder",
        ) from error
    return depth, hidden.shape[2]


class Ridge(ClosedForm):
    """The closed-form head alone: nothing is rehearsed, nothing descends a gradient."""

    Config: ClassVar[type[ClosedFormConfig]] = RidgeConfig

    def __init__(self, config: ClosedFormConfig) -> None:
        super().__init__(config)
        self.fusion = Fusion()

    def bind(self, model: Model, seed: int, *, correctable: int = 0) -> None:
        """Make the head."""
        super().bind(model, seed, correctable=correctable)
        self.layers, self.head = closed_form(self.config, model, seed)

    def scores(self, model: Model, tokens: Tokens) -> torch.Tensor:
        """Return the scores of `answer`."""
        return self.answer(model, tokens).scores

    def answer(self, model: Model, tokens: Tokens) -> Output:
        """Return the regression's scores, sharpened, and its novelty scores."""
        if not self.head.classes:  # a fine-tuned checkpoint knows something before the first label
            scores = super().scores(model, tokens)
            return Output(scores, energy(scores))
        evidence = self.head.evidence(model.hidden_states(tokens, self.layers)[0])
        return Output(padded(self.fusion.combine(evidence, None), model.head.size), evidence.novelty_scores)

    def exported(self, model: Model) -> Exported:
        """Return the regression, with the class means and all that is constant folded in."""
        if not self.head.classes:
            return super().exported(model)
        return self._folded(model)

    def absorb(self, step: Rehearsing, batch: Batch, memory: ReplayMemory) -> None:
        """Learn how sharp to answer, and then the batch."""
        del memory
        hidden, _ = step.model.hidden_states(batch.tokens, self.layers)
        rows = finite(hidden)
        hidden, labels = hidden[rows], step.labels(batch)[rows]
        self.unlearn_unlabelled(batch.ids)
        self.batch_novelty = None
        if known := self.head.classes:
            evidence = self.head.evidence(hidden)
            self.batch_novelty = placed(evidence.novelty_scores, rows)
            self.fusion.learn(some(evidence, labels < known), None, labels[labels < known])
        self.head.learn(hidden, labels, step.task.outputs)
        self.remember(batch, rows, hidden, labels)

    @property
    def learns_unlabelled(self) -> bool:
        """Whether it learns from events without a label."""
        return isinstance(self.head, SelfTrainingHead)

    def learn_unlabelled(self, step: Rehearsing, batch: Batch) -> None:
        """Learn from events without a label, by what they are taken for."""
        if isinstance(self.head, SelfTrainingHead):
            hidden, _ = step.model.hidden_states(batch.tokens, self.layers)
            rows = finite(hidden)
            self.head.learn_unlabelled(
                [each for each, fine in zip(batch.ids, rows.tolist(), strict=True) if fine], hidden[rows]
            )

    def unlearn_unlabelled(self, ids: Sequence[str]) -> None:
        """Take back what was learned of events without a label: their labels have come, or they are to be forgotten."""
        if isinstance(self.head, SelfTrainingHead):
            self.head.unlearn_unlabelled(ids)

    def forget(self, ids: Sequence[str]) -> int:
        """Take the samples out with the labels that they were learned with, or what they were taken for."""
        self.unlearn_unlabelled(ids)
        return super().forget(ids)

    def relearn(self, kept: Kept, label: int, classes: int) -> None:
        """Correct regression and means; what was learned of the weights of the parts stays."""
        self.head.correct(kept, label, classes)

    def unlearn(self, found: Sequence[Kept]) -> None:
        """Take the samples out of regression and means; what was learned of the weights of the parts stays."""
        self.head.forget(found)

    def served_copy(self) -> Self:
        """Return a copy without what no answer reads, above all the inverse."""
        copied = copy(self)
        copied.head, copied.fusion = self.head.served_copy(), deepcopy(self.fusion)
        copied.recent, copied.batch_novelty = RecentFeatures(0), None
        return copied

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        return {"layers": list(self.layers), **self.head.state_dict(), **self.fusion.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's statistics.

        Raises:
            ConfigError: they are of other features.
        """
        size = self.head.regression.size
        if (list(self.layers), size) != (state["layers"], len(state["weights"])):
            raise ConfigError(
                f"the snapshot reads the layers {state['layers']} by {len(state['weights'])} features, and not "
                f"{list(self.layers)} by {size}",
                where="strategy.layers, strategy.features",
                mend="go on with the values that wrote it, or give the changed learner a new `name`",
            )
        self.head.load_state_dict(state)
        self.fusion.load_state_dict(state)

    def _folded(self, model: Model) -> Exported:
        sharpness, prototypes, _ = self.fusion.weights.tolist()
        features = {"centre": self.head.features.mean, "projections": self.head.features.projections}
        weight = linear(self.head.folded(sharpness, prototypes), None, model.head.size)
        return Exported("layers", {**features, **weight}, {"layers": list(self.layers)})


def some(evidence: Evidence, rows: torch.Tensor) -> Evidence:
    """Return the evidence of some rows."""
    return Evidence(*(each[rows] for each in evidence))
