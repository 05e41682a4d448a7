"""For which events a label is asked: settings, without torch."""

from pydantic import Field

from streamlearn.core.registry import Config


class LabelRequestsConfig(Config):
    """For which events a label is asked: the prediction says `label_requested`."""

    budget: float = Field(
        0.0, ge=0, le=1, description="Share of the events without a label for which one is asked. 0: none is."
    )
    at_random: float = Field(
        0.1, ge=0, le=1, description="Share of those that are drawn by chance; the others are the ones most in doubt."
    )
