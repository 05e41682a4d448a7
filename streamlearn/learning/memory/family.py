"""The families of policies and retrievals: their names, and where each of them lies; and the memory's own settings.
Without torch."""

from typing import TYPE_CHECKING

from pydantic import Field

from streamlearn.core.registry import ComponentSpec, Config, Own, Registry

if TYPE_CHECKING:
    from streamlearn.learning.memory.policy import Policy
    from streamlearn.learning.memory.retrieval import Retrieval

HERE = "streamlearn.learning.memory"


class MemoryConfig(Config):
    """How much of the past is kept for rehearsal, and which of it."""

    capacity: int = Field(1000, ge=1, le=10_000_000, description="Samples kept; their columns are allocated at start.")
    policy: ComponentSpec = Field(
        ComponentSpec(name="reservoir"),
        description="reservoir: every sample of the stream is equally likely to be kept. "
        "class-balanced: classes share the memory as evenly as the stream allows. "
        "ring: the newest samples of each class. loss-aware: what is known well gives way first.",
    )
    retrieval: ComponentSpec = Field(
        ComponentSpec(name="uniform"),
        description="What is rehearsed. uniform: every stored sample is equally likely. class-balanced: every stored "
        "class is. class-balanced-others: every class that is not in the new batch.",
    )


policies: "Registry[Policy]" = Registry(
    "policy",
    {
        "class-balanced": Own(f"{HERE}.policy:ClassBalanced"),
        "loss-aware": Own(f"{HERE}.loss_aware:LossAware"),
        "reservoir": Own(f"{HERE}.policy:Reservoir"),
        "ring": Own(f"{HERE}.ring:Ring"),
    },
)
retrievals: "Registry[Retrieval]" = Registry(
    "retrieval",
    {
        "class-balanced": Own(f"{HERE}.retrieval:ClassBalanced"),
        "class-balanced-others": Own(f"{HERE}.retrieval:ClassBalancedOthers"),
        "uniform": Own(f"{HERE}.retrieval:Uniform"),
    },
)
