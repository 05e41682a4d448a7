"""The protocol of a drift detector."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

from streamlearn.registry import Registry

Kind = Literal["number", "vector", "label"]


class Detector(Protocol):
    """Watches one signal, observation after observation.

    `takes` says what an observation is: a number, a vector (a tensor of shape (d,)) or a label. Drift is called where
    `statistic` is above `threshold`; both are nan until there is enough to tell. After an alarm a detector begins anew
    with what its paper says.
    """

    takes: ClassVar[Kind]

    @property
    def statistic(self) -> float:
        """What was read at the last test."""
        ...

    @property
    def threshold(self) -> float:
        """Where drift is called."""
        ...

    def update(self, value: Any) -> bool:  # noqa: ANN401 - a number, a vector or a label: see `takes`
        """Take in an observation; return whether it shows drift."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the detector knows, as tensors and JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a detector of the same settings returned."""
        ...


detectors: Registry[Detector] = Registry("detector")
