"""The family of tasks: their names, their settings, and where each of them lies. Without torch."""

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from streamlearn.core.registry import Config, Own, Registry

if TYPE_CHECKING:
    from streamlearn.model.tasks.base import Task

HERE = "streamlearn.model.tasks"


class SequenceClassificationConfig(Config):
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


tasks: "Registry[Task]" = Registry(
    "task",
    {
        "sequence-classification": Own(
            f"{HERE}.sequence_classification:SequenceClassification", SequenceClassificationConfig, {"classes": True}
        )
    },
)
