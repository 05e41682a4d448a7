"""How long events and labels wait for each other: settings, without torch."""

from pydantic import Field

from streamlearn.core.registry import Config


class JoinerConfig(Config):
    """How long, and how many, events and labels wait for each other, and which ids are remembered."""

    ttl: float = Field(
        86_400, gt=0, description="Seconds that an event waits for its label, or a label for its event; then it leaves."
    )
    capacity: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Events that wait for a label, and labels that wait for an event; of more the oldest leave.",
    )
    window: int = Field(
        100_000,
        ge=0,
        le=100_000_000,
        description="Ids that are remembered at least: an event that comes again within them is a duplicate. 0: none.",
    )
    correction_window: int = Field(
        1_000,
        ge=0,
        le=10_000_000,
        description="Learned samples whose features are kept, so that strategies with a closed form can take a wrong "
        "label back, or a sample that is to be forgotten, and labelled events that are measured anew; later "
        "corrections reach memory and probes alone. With kafka.topics.labels, or fields.id: $key.",
    )
