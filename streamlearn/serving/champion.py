"""The champion: the weights that are served. They follow the learner's, or are held while the learner moves on."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn

from streamlearn.learning.learner import Learner
from streamlearn.learning.novelty import ConformalNovelty
from streamlearn.learning.strategies.base import Strategy
from streamlearn.model.model import Model


class Weights(NamedTuple):
    """All that an answer depends on, as it is after `step` optimizer steps.

    `strategy` answers from `model`, or from its own statistics of the model's features; `novelty` knows the novelty
    scores of known classes.
    """

    model: Model
    strategy: Strategy
    novelty: ConformalNovelty
    step: int


class Champion:
    """What is served of a learner.

    While it follows, it is the learner itself: every update is served at once, and nothing is copied. `hold` copies
    what learning moves (the head, the trainable top, unfrozen layers, a closed form's weights and means) and refers to
    the rest, so that it answers to the bit as before, whatever the learner learns, corrects or forgets from then on.
    `follow` lets go of the copies.

        champion.hold()     # at step 7
        learner.add(...)    # to step 9; champion.weights.step is 7
        champion.follow()   # champion.weights.step is 9

    Args:
        learner: whose weights are served.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._held: Weights | None = None

    @property
    def weights(self) -> Weights:
        """What is served now."""
        return self._of_learner() if self._held is None else self._held

    def hold(self) -> None:
        """Serve the weights as they are now, until `follow`; what is held already stays as it is."""
        if self._held is None:
            learner = self._learner
            moving = {id(parameter) for parameter in learner.trained()}
            self._held = Weights(
                _copied(learner.model, moving), learner.strategy.served_copy(), deepcopy(learner.novelty), learner.step
            )

    def follow(self) -> None:
        """Serve the learner's weights, now and after each of its updates."""
        self._held = None

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the part `champion` of a snapshot: of what is held, all that is other than the learner's. While it
        follows there is no such part. Tensors are the live ones."""
        if self._held is None:
            return {}
        own, learners = self._held, self._of_learner()
        return {
            "champion": {
                "step": own.step,
                "trained": own.model.trained,
                "rows": own.model.head.size,
                "weights": _difference(_parameters(own.model), _parameters(learners.model)),
                "strategy": _difference(own.strategy.state_dict(), learners.strategy.state_dict()),
                "novelty": _difference(own.novelty.state_dict(), learners.novelty.state_dict()),
            }
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a champion of the same learner returned; the learner has taken over its own state before."""
        self.follow()
        if "champion" not in state:
            return
        own = state["champion"]
        self.hold()
        model, strategy, novelty, _ = self.weights
        for name, tensor in own["weights"].items():
            model.get_parameter(name).data = tensor.to(model.device)  # the head may have had fewer rows
        model.head.size, model.trained = own["rows"], own["trained"]
        strategy.load_state_dict({**self._learner.strategy.state_dict(), **own["strategy"]})
        novelty.load_state_dict({**self._learner.novelty.state_dict(), **own["novelty"]})
        self._held = Weights(model, strategy, novelty, int(own["step"]))

    def _of_learner(self) -> Weights:
        learner = self._learner
        return Weights(learner.model, learner.strategy, learner.novelty, learner.step)


def _copied(model: Model, moving: set[int]) -> Model:
    """Return a model whose modules are its own, so that it can be hooked and grafted by itself. Of the tensors, only
    the parameters whose `id` is in `moving` are its own."""
    tensors = [each for each in chain(model.parameters(), model.buffers()) if id(each) not in moving]
    shared: list[Any] = [model.tokenizer, model.backbone.config, *tensors]
    return deepcopy(model, {id(each): each for each in shared})


def _parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _difference(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that the other has not, or not with the same value."""
    return {name: value for name, value in own.items() if name not in other or not _equal(value, other[name])}


def _equal(one: object, other: object) -> bool:
    """Say whether two values of a state are equal: tensors, JSON values, and what is nested of them."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and one == other
