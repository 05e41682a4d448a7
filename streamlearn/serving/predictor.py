"""The predictor: what the served weights say of new events."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import IntArray, pad
from streamlearn.core.scores import Scores
from streamlearn.core.timing import Stages
from streamlearn.learning.novelty import ConformalNovelty
from streamlearn.learning.strategies import Strategy
from streamlearn.model.model import Model
from streamlearn.model.tasks import Task


class Answer(NamedTuple):
    """What is said of n texts: their token ids, the scores (None before any label is known), how many tokens of each
    text the tokenizer does not know, (n,), and how novel it is, (n,), see `novelty.ConformalNovelty` (None before that
    is known)."""

    tokens: Sequence[IntArray]
    scores: Scores | None
    unknown: IntArray
    novelty: npt.NDArray[np.float64] | None = None


def joined(answers: Sequence[Answer]) -> Answer:
    """Put answers together, in order; none make an empty answer."""
    tokens = [row for answer in answers for row in answer.tokens]
    parts = [answer.scores for answer in answers if answer.scores is not None]
    scores = Scores(*map(np.concatenate, zip(*parts, strict=True))) if parts else None
    unknown = np.concatenate([np.zeros(0, np.int64), *(answer.unknown for answer in answers)])
    novel = [answer.novelty for answer in answers if answer.novelty is not None]
    return Answer(tokens, scores, unknown, np.concatenate(novel) if novel else None)


class Predictor(Protocol):
    """Anything that answers texts."""

    def predict(self, texts: Sequence[str]) -> Answer:
        """Answer a batch of texts; an error must leave it able to answer others."""
        ...


class ServedModel:
    """Scores texts with the served weights.

    Args:
        model: the served weights; now the learner's own.
        task: turns the model's output into probabilities.
        strategy: answers from the model, or from its own statistics of the model's features.
        top_k: how many labels a prediction names.
        stages: takes the time of tokenizing and of the forward pass.
        novelty: knows how strange events of known classes are; None: nobody does.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        strategy: Strategy,
        *,
        top_k: int,
        stages: Stages,
        novelty: ConformalNovelty | None = None,
    ) -> None:
        self.model, self.task, self.strategy, self.top_k, self.stages = model, task, strategy, top_k, stages
        self.novelty = ConformalNovelty() if novelty is None else novelty

    def predict(self, texts: Sequence[str]) -> Answer:
        """Return the texts' token ids, their scores once a label is known, and their novelty once that is known."""
        with self.stages("tokenize"):
            tokens, unknown = self.model.tokenize(texts)
        if not self.model.trained:
            return Answer(tokens, None, unknown)
        with self.stages("predict"), torch.inference_mode():
            said = self.strategy.answer(self.model, pad(tokens))
            scores = self.task.scores(said.scores, self.top_k)
            return Answer(tokens, scores, unknown, self.novelty.novelty(said.novelty_scores))

    def scores(self, tokens: Sequence[IntArray]) -> Scores:
        """Return the scores of texts that were tokenized already; at least one label must be known."""
        with self.stages("predict"):
            return self.task.scores(self.output(tokens), self.top_k)

    def output(self, tokens: Sequence[IntArray]) -> torch.Tensor:
        """Return the scores before softmax, of shape (n, classes); its time is the caller's to take."""
        with torch.inference_mode():
            return self.strategy.scores(self.model, pad(tokens))
