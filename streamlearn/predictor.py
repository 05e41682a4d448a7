"""The predictor: what the served weights say of new events."""

from collections.abc import Sequence

import torch

from streamlearn.batch import IntArray, pad
from streamlearn.model import Model
from streamlearn.tasks import Scores, Task


class Predictor:
    """Scores events with the served weights.

    Args:
        model: the served weights; now the learner's own.
        task: turns the model's output into probabilities.
        top_k: how many labels a prediction names.
    """

    def __init__(self, model: Model, task: Task, *, top_k: int) -> None:
        self.model, self.task, self.top_k = model, task, top_k

    def predict(self, tokens: Sequence[IntArray]) -> Scores:
        """Return probabilities for each event's token ids; at least one label must be known."""
        with torch.inference_mode():
            return self.task.scores(self.model(pad(tokens)), self.top_k)
