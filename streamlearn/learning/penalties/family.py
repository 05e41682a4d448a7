"""The family of penalties: their names, their settings, and where each of them lies. Without torch."""

from typing import TYPE_CHECKING

from pydantic import Field

from streamlearn.core.registry import Config, Own, Registry

if TYPE_CHECKING:
    from streamlearn.learning.penalties.base import Penalty

HERE = "streamlearn.learning.penalties"


class PenaltyConfig(Config):
    """How often the past is taken anew, and how much it weighs."""

    every: int = Field(500, ge=1, description="Optimizer steps between two consolidations.")
    strength: float = Field(1.0, ge=0, description="Weight of the penalty beside the strategy's loss.")


class EWCConfig(PenaltyConfig):
    """How the Fisher information is found and kept."""

    strength: float = Field(100.0, ge=0, description="Weight of the penalty beside the strategy's loss.")
    decay: float = Field(0.9, ge=0, le=1, description="What is left of the older Fisher information each time.")
    samples: int = Field(32, ge=1, le=10_000, description="Stored samples of one consolidation.")


class LwFConfig(PenaltyConfig):
    """How the copy is taken and followed."""

    temperature: float = Field(2.0, gt=0, description="Of both softmaxes: higher tells more of unlikely classes.")


penalties: "Registry[Penalty]" = Registry(
    "penalty",
    {
        "ewc": Own(f"{HERE}.ewc:EWC", EWCConfig, {"remembers": True}),
        "lwf": Own(f"{HERE}.lwf:LwF", LwFConfig, {"remembers": False}),
    },
)
