"""What was said of the last labelled events, so that a label that turns out to be wrong can be measured anew."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from streamlearn.pending import NONE, TOP, Likely


class Answers:
    """Keeps the likeliest labels of the last `size` events that were measured, and the number of each measurement.

    Args:
        size: events; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._said: OrderedDict[str, tuple[int, Likely]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._said)

    def add(self, event_id: str, number: int, likely: Likely) -> None:
        """Keep what was said of an event, which was the measurement of this number."""
        self._said.pop(event_id, None)
        self._said[event_id] = number, likely
        if len(self._said) > self.size:
            self._said.popitem(last=False)

    def find(self, event_id: str) -> tuple[int, Likely] | None:
        """Return the number of an event's measurement, and what was said of it; None where it is not kept."""
        return self._said.get(event_id)

    def remove(self, event_id: str) -> None:
        """Keep what was said of an event no longer."""
        self._said.pop(event_id, None)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, in columns."""
        rows = [likely for _, likely in self._said.values()]
        return {
            "ids": list(self._said),
            "numbers": torch.tensor([number for number, _ in self._said.values()], dtype=torch.int64),
            "classes": torch.tensor([each.classes for each in rows], dtype=torch.int32),
            "top": torch.tensor([each.top for each in rows], dtype=torch.int32).reshape(len(rows), TOP),
            "probabilities": torch.tensor([each.probabilities for each in rows]).reshape(len(rows), TOP),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another kept; of too many the last."""
        columns = [state[name].tolist() for name in ("numbers", "classes", "top", "probabilities")]
        found = [
            (event_id, (number, Likely(classes, tuple(top), tuple(probabilities))))
            for event_id, number, classes, top, probabilities in zip(state["ids"], *columns, strict=True)
        ]
        self._said = OrderedDict(found[max(0, len(found) - self.size) :])


def nothing_said() -> Likely:
    """Return what is said before any label is known."""
    return Likely(0, (NONE,) * TOP, (0.0,) * TOP)
