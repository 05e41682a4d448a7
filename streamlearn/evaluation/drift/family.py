"""The family of drift detectors: their names, their settings, which signals each can take, and where each of them lies.
Without torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec, Config, Own, Registry

if TYPE_CHECKING:
    from streamlearn.evaluation.drift.base import Detector

HERE = "streamlearn.evaluation.drift"

# An error is a number that is 0 or 1: what takes numbers takes errors too.
Kind = Literal["error", "number", "vector", "label"]
Direction = Literal["up", "down", "both"]

# What there is to watch. The first two need labels.
SIGNALS: Mapping[str, Kind] = {
    "error": "error",
    "loss": "number",
    "embedding": "vector",
    "confidence": "number",
    "label": "label",
    "unknown_tokens": "number",
    "novelty": "number",
}

NOUNS: Mapping[Kind, str] = {
    "error": "an error (0 or 1)",
    "number": "a number",
    "vector": "a vector",
    "label": "a label",
}


class WindowsConfig(Config):
    """The two windows, and how sure an alarm must be."""

    reference: int = Field(500, ge=50, le=100_000, description="Observations that stand for what is usual.")
    window: int = Field(200, ge=20, le=100_000, description="The latest observations, which are compared with them.")
    every: int = Field(20, ge=1, le=100_000, description="Observations between two tests.")
    alpha: float = Field(
        1e-6, gt=0, lt=0.5, description="Chance that one test calls a drift where there is none; there are many tests."
    )

    @model_validator(mode="after")
    def _begins_anew(self) -> "WindowsConfig":
        if self.window > self.reference:
            raise ValueError("window must not be larger than reference, which the window begins after an alarm")
        return self


class ADWINConfig(Config):
    """How sure a cut must be."""

    delta: float = Field(0.002, gt=0, lt=1, description="Chance of a false cut, as the paper bounds it.")
    every: int = Field(32, ge=1, le=100_000, description="Observations between two tests.")
    grace: int = Field(10, ge=1, le=1_000_000, description="Observations before the first test.")
    direction: Direction = Field("up", description="Which change of the mean is drift: up, down or both.")


class DDMConfig(Config):
    """How far above the best."""

    grace: int = Field(30, ge=1, le=1_000_000, description="Observations before the first test.")
    deviations: float = Field(3.0, gt=0, description="Standard deviations above the lowest error rate.")


class JSConfig(WindowsConfig):
    """The two windows."""


class KSConfig(WindowsConfig):
    """The two windows, and which change matters."""

    direction: Direction = Field("both", description="Whether numbers grow (up), shrink (down), or any change.")


class KSWINConfig(Config):
    """The window and the level."""

    alpha: float = Field(1e-6, gt=0, lt=1, description="Level of each test.")
    window: int = Field(200, ge=4, le=100_000, description="Observations that are kept.")
    newest: int = Field(60, ge=2, le=50_000, description="So many of them, the newest, are tested.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the draws.")

    @model_validator(mode="after")
    def _leaves_enough(self) -> "KSWINConfig":
        if 2 * self.newest > self.window:
            raise ValueError("newest must be at most half of window: as many are drawn from the rest")
        return self


class MMDConfig(WindowsConfig):
    """The two windows, and the features."""

    features: int = Field(256, ge=8, le=16_384, multiple_of=2, description="Random Fourier features.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the features.")


class PageHinkleyConfig(Config):
    """What change matters."""

    grace: int = Field(200, ge=1, le=1_000_000, description="Observations before the first test.")
    delta: float = Field(0.1, ge=0, description="A change of the mean up to this does not count.")
    threshold: float = Field(60.0, gt=0, description="Of the sum; in standard deviations where standardized.")
    alpha: float = Field(
        1.0, gt=0, le=1, description="The sum forgets by this factor at each observation; 1 is the paper's form."
    )
    direction: Direction = Field("up", description="Which change of the mean is drift: up, down or both.")
    standardized: bool = Field(True, description="Count in standard deviations of the signal.")


detectors: "Registry[Detector]" = Registry(
    "detector",
    {
        "adwin": Own(f"{HERE}.adwin:ADWIN", ADWINConfig, {"takes": "number"}),
        "ddm": Own(f"{HERE}.ddm:DDM", DDMConfig, {"takes": "error"}),
        "js": Own(f"{HERE}.js:JS", JSConfig, {"takes": "label"}),
        "ks": Own(f"{HERE}.ks:KS", KSConfig, {"takes": "number"}),
        "kswin": Own(f"{HERE}.kswin:KSWIN", KSWINConfig, {"takes": "number"}),
        "mmd": Own(f"{HERE}.mmd:MMD", MMDConfig, {"takes": "vector"}),
        "page-hinkley": Own(f"{HERE}.page_hinkley:PageHinkley", PageHinkleyConfig, {"takes": "number"}),
    },
)


def fits(signal: str, spec: ComponentSpec) -> None:
    """See that the detector exists and can take the signal.

    Raises:
        ConfigError: it cannot; names those that can.
    """
    kind = SIGNALS[signal]
    taken: Kind = detectors.fact(spec.name, "takes")
    takable = {kind, "number"} if kind == "error" else {kind}
    if taken not in takable:
        fit = [name for name in detectors if detectors.fact(name, "takes") in takable]
        raise ConfigError(
            f"{spec.name!r} takes {NOUNS[taken]}, and this signal is {NOUNS[kind]}",
            where=f"drift.{signal}",
            mend=f"choose one of: {', '.join(fit)}; or null to leave it unwatched",
        )
