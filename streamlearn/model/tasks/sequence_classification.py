"""One label for a text: intents, topics, sentiment."""

from collections.abc import Sequence

import torch
from pydantic import Field, field_validator
from torch.nn import functional

from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import Config as BaseConfig
from streamlearn.core.scores import Scores
from streamlearn.core.vocabulary import Labels
from streamlearn.model.tasks.base import tasks


@tasks.register("sequence-classification")
class SequenceClassification:
    """Softmax over the labels known so far, trained by cross-entropy."""

    class Config(BaseConfig):
        """The labels, where they are known beforehand."""

        labels: tuple[str, ...] | None = Field(
            None,
            description="A closed set of labels: any other is a dead letter. Not set: labels are found while running.",
        )

        @field_validator("labels")
        @classmethod
        def _distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if labels is not None and len(set(labels)) < max(len(labels), 2):
                raise ValueError("needs at least two labels, each once")
            return labels

    def __init__(self, config: Config) -> None:
        self.config = config
        self.labels = Labels(config.labels or (), closed=config.labels is not None)

    def known_from(self, labels: Sequence[str]) -> None:
        """Take over a fine-tuned checkpoint's labels; a closed set must be the same labels.

        Raises:
            ConfigError: the closed set is another one.
        """
        if self.config.labels is not None and set(self.config.labels) != set(labels):
            odd = sorted(set(self.config.labels) ^ set(labels))
            raise ConfigError(
                f"the checkpoint was fine-tuned for other labels: {', '.join(odd[:5])} stand on one side only",
                where="task.labels",
                mend="list the checkpoint's labels, or leave task.labels out",
            )
        self.labels = Labels(labels, closed=self.labels.closed)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of scores (n, classes) for labels (n,)."""
        return functional.cross_entropy(scores, labels)

    def losses(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return each sample's cross-entropy: (n,)."""
        return functional.cross_entropy(scores, labels, reduction="none")

    def scores(self, output: torch.Tensor, top_k: int) -> Scores:
        """Softmax, and the `top_k` likeliest classes of each event."""
        probabilities = output.softmax(dim=-1)
        values, indices = probabilities.topk(min(top_k, output.shape[1]), dim=-1)
        return Scores(probabilities.cpu().numpy(), indices.cpu().numpy(), values.cpu().numpy())
