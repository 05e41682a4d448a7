"""The predictor: what the served weights say of new events."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import IntArray, pad
from streamlearn.core.target import Answer
from streamlearn.core.timing import Stages
from streamlearn.model.model import Model
from streamlearn.model.tasks.base import Task
from streamlearn.serving.champion import Champion


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
        champion: the served weights.
        task: reads what the model's output says.
        top_k: how many labels a prediction names.
        stages: takes the time of tokenizing and of the forward pass.
    """

    def __init__(self, champion: Champion, task: Task, *, top_k: int, stages: Stages) -> None:
        self.champion, self.task, self.top_k, self.stages = champion, task, top_k, stages

    @property
    def model(self) -> Model:
        """The served model."""
        return self.champion.weights.model

    def predict(self, texts: Sequence[str]) -> Reply:
        """Return the texts' token ids, the answer once a label is known, and their novelty once that is known."""
        model, strategy, novelty, _ = self.champion.weights
        with self.stages("tokenize"):
            tokens, unknown = model.tokenize(texts)
        if not model.trained:
            return Reply(tokens, None, unknown)
        with self.stages("predict"), torch.inference_mode():
            output = strategy.answer(model, pad(tokens))
            answer = self.task.answer(output.scores, self.top_k)
            return Reply(tokens, answer, unknown, novelty.novelty(output.novelty_scores))

    def answer(self, tokens: Sequence[IntArray], top_k: int = 1) -> Answer:
        """Answer texts that were tokenized already, for whoever measures; at least one label must be known.

        Its time is the caller's to take.
        """
        with torch.inference_mode():
            return self.task.answer(self.champion.weights.strategy.scores(self.model, pad(tokens)), top_k)
