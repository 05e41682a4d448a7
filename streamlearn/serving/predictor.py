"""The predictor: what the served weights say of new events."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import IntArray, pad
from streamlearn.core.target import Answer
from streamlearn.core.timing import Stages
from streamlearn.learning.novelty import ConformalNovelty
from streamlearn.learning.strategies import Strategy
from streamlearn.model.model import Model
from streamlearn.model.tasks import Task


class Reply(NamedTuple):
    """What the model replies to n texts: their token ids, the answer (None before any label is known), how many tokens
    of each text the tokenizer does not know, (n,), and how novel it is, (n,), see `novelty.ConformalNovelty` (None
    before that is known)."""

    tokens: Sequence[IntArray]
    answer: Answer | None
    unknown: IntArray
    novelty: npt.NDArray[np.float64] | None = None


def joined(replies: Sequence[Reply]) -> Reply:
    """Put replies together, in order; none make an empty reply."""
    tokens = [row for reply in replies for row in reply.tokens]
    answers = [reply.answer for reply in replies if reply.answer is not None]
    answer = answers[0].extended(answers[1:]) if answers else None
    unknown = np.concatenate([np.zeros(0, np.int64), *(reply.unknown for reply in replies)])
    novel = [reply.novelty for reply in replies if reply.novelty is not None]
    return Reply(tokens, answer, unknown, np.concatenate(novel) if novel else None)


class Predictor(Protocol):
    """Anything that answers texts."""

    def predict(self, texts: Sequence[str]) -> Reply:
        """Answer a batch of texts; an error must leave it able to answer others."""
        ...


class ServedModel:
    """Scores texts with the served weights.

    Args:
        model: the served weights; now the learner's own.
        task: reads what the model's output says.
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

    def predict(self, texts: Sequence[str]) -> Reply:
        """Return the texts' token ids, the answer once a label is known, and their novelty once that is known."""
        with self.stages("tokenize"):
            tokens, unknown = self.model.tokenize(texts)
        if not self.model.trained:
            return Reply(tokens, None, unknown)
        with self.stages("predict"), torch.inference_mode():
            said = self.strategy.answer(self.model, pad(tokens))
            answer = self.task.answer(said.scores, self.top_k)
            return Reply(tokens, answer, unknown, self.novelty.novelty(said.novelty_scores))

    def answer(self, tokens: Sequence[IntArray]) -> Answer:
        """Answer texts that were tokenized already; at least one label must be known."""
        with self.stages("predict"):
            return self.task.answer(self.output(tokens), self.top_k)

    def output(self, tokens: Sequence[IntArray]) -> torch.Tensor:
        """Return the scores before softmax, of shape (n, classes); its time is the caller's to take."""
        with torch.inference_mode():
            return self.strategy.scores(self.model, pad(tokens))
