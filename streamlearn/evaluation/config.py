"""Which labelled events are kept out of training: settings, without torch."""

from pydantic import Field, model_validator

from streamlearn.core.registry import Config
from streamlearn.evaluation.cohorts import ENOUGH, FOLDS


class ProbesConfig(Config):
    """Labelled events that are kept out of training, to measure what was forgotten."""

    share: float = Field(
        0.1, ge=0, le=1, description="Share of labelled events that may become probes, chosen by a hash of their id."
    )
    per_label: int = Field(
        20, ge=ENOUGH, le=10_000, multiple_of=FOLDS, description="Probes in a cohort; a label has `cohorts` of them."
    )
    cohorts: int = Field(
        2, ge=1, le=100, description="Cohorts a label: the first one stays for ever, the newest one is renewed."
    )
    capacity: int = Field(6000, ge=ENOUGH, le=1_000_000, description="Probes of all labels together.")
    budget: float = Field(
        0.3, ge=0, le=1000, description="Probes evaluated per labelled event; more where `every` needs it."
    )
    every: int = Field(
        1000, ge=1, le=10_000_000, description="Labelled events within which each label's probes are evaluated."
    )

    @model_validator(mode="after")
    def _a_cohort_fits(self) -> "ProbesConfig":
        if self.capacity < self.per_label:
            raise ValueError(f"capacity {self.capacity} holds no cohort: it must be at least {self.per_label}")
        return self
