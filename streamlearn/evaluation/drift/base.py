"""The protocol of a drift detector, and what detectors share: which signals they take, how numbers are saved."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from streamlearn.evaluation.drift.family import Kind


class Detector(Protocol):
    """Watches one signal, observation after observation.

    `takes` says what an observation is: an error (0 or 1), a number, a vector (a tensor of shape (d,)) or a label.
    Drift was called at the last test if and only if `statistic` is above `threshold`; a detector whose method looks for
    a fall turns the sign. Both are nan until there is enough to tell. After an alarm a detector begins anew
    with what its paper keeps; right after it, statistic and threshold read what they read at the alarm.
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

    def update(self, value: Any) -> bool:  # noqa: ANN401 - an error, a number, a vector or a label: see `takes`
        """Take in an observation; return whether it shows drift."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the detector knows, as tensors and JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a detector of the same settings returned: it goes on with the same alarms and statistics."""
        ...


def saved(value: float) -> float | None:
    """Return a number as JSON has it: nan, which JSON lacks, is null."""
    return None if math.isnan(value) else float(value)


def restored(value: float | None) -> float:
    """Return the number that `saved` was given."""
    return math.nan if value is None else float(value)
