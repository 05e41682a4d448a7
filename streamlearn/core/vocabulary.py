"""The vocabulary of labels, which grows while the learner runs."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Final

NONE: Final = -1  # the number of a label that is not known


class Labels:
    """The labels known so far, each with a number that it keeps for ever: append-only.

    Args:
        known: labels that are known from the start.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.names: list[str] = []
        self._numbers: dict[str | None, int] = {}
        for label in known:
            self.add(label)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def number(self, label: str) -> int | None:
        """Return the label's number, or None if it is not known."""
        return self._numbers.get(label)

    def numbers(self, labels: Iterable[str | None]) -> list[int]:
        """Return the labels' numbers; `NONE` stands for each that is not known, and for None."""
        return list(map(self._numbers.get, labels, repeat(NONE)))

    def add(self, label: str) -> int:
        """Return the label's number; a new label gets the next one."""
        number = self._numbers.get(label)
        if number is None:
            number = self._numbers[label] = len(self.names)
            self.names.append(label)
        return number

    def state_dict(self) -> dict[str, list[str]]:
        """Return the labels in the order of their numbers."""
        return {"names": list(self.names)}

    def load_state_dict(self, state: dict[str, list[str]]) -> None:
        """Take over another vocabulary's labels."""
        self.names = list(state["names"])
        self._numbers = {label: number for number, label in enumerate(self.names)}
