"""One label for a text: intents, topics, sentiment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from streamlearn.core.errors import ConfigError
from streamlearn.core.scores import Scores
from streamlearn.core.target import Column, IntArray, Target
from streamlearn.core.vocabulary import Labels
from streamlearn.model.tasks.classes import ClassAgreement, ClassAnswer, ClassJudge, ClassTargets
from streamlearn.model.tasks.family import SequenceClassificationConfig


class SequenceClassification(ClassJudge):
    """Softmax over the labels known so far, trained by cross-entropy."""

    Config = SequenceClassificationConfig

    classes = True
    column: Column | None = None

    def __init__(self, config: SequenceClassificationConfig) -> None:
        self.config, self.closed = config, config.labels is not None
        super().__init__(Labels(config.labels or ()))

    @property
    def outputs(self) -> int:
        """A row of the head for each label."""
        return len(self.labels)

    @property
    def groups(self) -> Sequence[str]:
        """The labels."""
        return self.labels.names

    def targets(self, max_labels: int) -> ClassTargets:
        """Return what admits labels."""
        return ClassTargets(self.labels, closed=self.closed, max_labels=max_labels)

    def encode(self, targets: Sequence[Target]) -> IntArray:
        """Return the labels' numbers, int64 of shape (n,); a new label gets the next one."""
        return np.array([self.labels.add(str(target)) for target in targets], np.int64)

    def group_numbers(self, encoded: IntArray) -> IntArray:
        """Return the labels' numbers."""
        return encoded

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
        self.labels = Labels(labels)

    def measure(self) -> ClassAgreement:
        """Return Cohen's kappa."""
        return ClassAgreement()

    def loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of scores (n, classes) for labels (n,)."""
        return functional.cross_entropy(output, labels)

    def losses(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return each sample's cross-entropy: (n,)."""
        return functional.cross_entropy(output, labels, reduction="none")

    def answer(self, output: torch.Tensor, top_k: int) -> ClassAnswer:
        """Softmax, and the `top_k` likeliest classes of each event."""
        probabilities = output.softmax(dim=-1)
        values, indices = probabilities.topk(min(top_k, output.shape[1]), dim=-1)
        return ClassAnswer(
            Scores(probabilities.cpu().numpy(), indices.cpu().numpy(), values.cpu().numpy()), self.labels
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the labels, in the order of their numbers."""
        return {"labels": list(self.labels.names)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's labels.

        Raises:
            ConfigError: labels that the configuration lists, or the checkpoint knows, are not the first of them.
        """
        known, saved = self.labels.names, list(state["labels"])
        if saved[: len(known)] != known:
            raise ConfigError(
                f"the snapshot knows {len(saved)} labels, and not those that are listed, in their order",
                where="task.labels, model.name",
                mend="go on with the labels that it began with, or give the changed learner a new `name`",
            )
        self.labels.load_state_dict({"names": saved})
