"""The family of strategies: their names, their settings, and where each of them lies. Without torch.

One more of ours is a file beside `er.py`, its settings and its line here, a row in docs/strategies.md and
ARCHITECTURE.md, and the pages made anew (`python -m docs.generate`). The suites over the registry then test it.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from streamlearn.core.registry import Config, Own, Registry

if TYPE_CHECKING:
    from streamlearn.learning.strategies.base import Strategy

HERE = "streamlearn.learning.strategies"


class ClosedFormConfig(Config):
    """The regression on a frozen encoder's layers."""

    layers: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="Hidden states that are read, 0 the embeddings. Not set: at 1/3, 2/3 and 5/6 of the encoder, and "
        "the last.",
    )
    features: int | None = Field(
        None,
        ge=16,
        le=65536,
        description="Random features; twice as many cost four times the time and memory. Not set: four for each "
        "number that is read, at most 6144.",
    )
    unlabelled: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Learn from events without a label too, by what they are taken for; so many of the last are judged "
        "anew as labels come. 0: none. Takes the statistics twice.",
    )
    ridge: float = Field(10.0, gt=0, description="What is added to the diagonal of the regression.")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="Of the regression's statistics. float64 takes twice the memory."
    )


class DERppConfig(Config):
    """The weights of the two rehearsals; the new samples' loss weighs 1."""

    alpha: float = Field(0.5, ge=0, description="Weight of the squared distance to the stored scores.")
    beta: float = Field(1.0, ge=0, description="Weight of the loss by labels, on another draw.")


class DualConfig(ClosedFormConfig):
    """The closed form, and when the rehearsed head is trained."""

    rehearsal: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: as often as the closed form's errors leave something to gain, and it is gained."
    )


class RidgeConfig(ClosedFormConfig):
    """See `ClosedFormConfig`."""


class StreamingLDAConfig(Config):
    """How the covariance is regularised."""

    shrinkage: float = Field(
        1e-2,
        gt=0,
        le=1,
        description="The covariance is mixed with so much of a multiple of the identity that has the same trace.",
    )


# What a configuration is checked by, as the classes have it.
DESCENT = {"rehearses": True, "descends": True, "needs_classes": False, "frozen": False}
CLOSED_FORM = {"rehearses": False, "descends": False, "needs_classes": True, "frozen": True}

strategies: "Registry[Strategy]" = Registry(
    "strategy",
    {
        "derpp": Own(f"{HERE}.derpp:DERpp", DERppConfig, DESCENT),
        "dual": Own(f"{HERE}.dual:Dual", DualConfig, {**CLOSED_FORM, "rehearses": True, "descends": True}),
        "er": Own(f"{HERE}.er:ER", facts=DESCENT),
        "er-ace": Own(f"{HERE}.er_ace:ERACE", facts={**DESCENT, "needs_classes": True}),
        "finetune": Own(f"{HERE}.finetune:Finetune", facts={**DESCENT, "rehearses": False}),
        "ncm": Own(f"{HERE}.ncm:NearestClassMean", facts=CLOSED_FORM),
        "ridge": Own(f"{HERE}.ridge:Ridge", RidgeConfig, CLOSED_FORM),
        "slda": Own(f"{HERE}.slda:StreamingLDA", StreamingLDAConfig, CLOSED_FORM),
    },
)
