"""What was said of the last labelled events, so that a label that turns out to be wrong can be measured anew."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from streamlearn.core.scores import TOP_SCORES, columns, restored


class Answers:
    """Keeps the likeliest labels of the last `size` events that were measured, and the number of each measurement.

    Args:
        size: events; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._said: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._said)

    def add(self, event_id: str, number: int, said: bytes) -> None:
        """Keep what was said of an event (the bytes of a `TOP_SCORES`), which was the measurement of this number."""
        self._said.pop(event_id, None)
        self._said[event_id] = number, said
        if len(self._said) > self.size:
            self._said.popitem(last=False)

    def find(self, event_id: str) -> tuple[int, bytes] | None:
        """Return the number of an event's measurement, and what was said of it; None where it is not kept."""
        return self._said.get(event_id)

    def remove(self, event_id: str) -> None:
        """Keep what was said of an event no longer."""
        self._said.pop(event_id, None)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, in columns."""
        said = np.frombuffer(b"".join(said for _, said in self._said.values()), TOP_SCORES)
        numbers = torch.tensor([number for number, _ in self._said.values()], dtype=torch.int64)
        return {"ids": list(self._said), "numbers": numbers, **columns(said)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another kept; of too many the last."""
        said = [row.tobytes() for row in restored(state)]
        found = list(zip(state["ids"], zip(state["numbers"].tolist(), said, strict=True), strict=True))
        self._said = OrderedDict(found[max(0, len(found) - self.size) :])
