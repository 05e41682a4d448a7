"""ADWIN: Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from streamlearn.drift.base import Kind, detectors
from streamlearn.registry import Config as BaseConfig

ROW = 5  # buckets of one size, before two of them become one of twice the size
SHORTEST = 5  # observations on each side of a cut


@detectors.register("adwin")
class ADWIN:
    """Keeps a window as long as its mean does not change: drift is where two parts of it have different means.

    The window is an exponential histogram of at most log2(n) rows of buckets, so memory is logarithmic in its length.
    Only a mean that rises is called drift, and the window then begins anew: what is watched are errors. A mean that
    falls shortens the window silently.
    """

    takes: ClassVar[Kind] = "number"

    class Config(BaseConfig):
        """How sure a cut must be."""

        delta: float = Field(0.002, gt=0, lt=1, description="Chance of a false cut, as the paper bounds it.")
        every: int = Field(32, ge=1, le=100_000, description="Observations between two tests.")
        grace: int = Field(10, ge=1, le=1_000_000, description="Observations before the first test.")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.statistic = self.threshold = math.nan
        self._clear()

    def _clear(self) -> None:
        # Each bucket has a sum and a sum of squared deviations; those of row i hold 2**i observations.
        self._rows: list[list[tuple[float, float]]] = [[]]
        self.count, self.width, self._sum, self._deviation = 0, 0, 0.0, 0.0

    @property
    def mean(self) -> float:
        """The mean of the window; nan while it is empty."""
        return self._sum / self.width if self.width else math.nan

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the mean has risen."""
        self.count += 1
        self._insert(float(value))
        if self.count % self.config.every or self.width <= self.config.grace:
            return False
        if not self._shrink():
            return False
        self._clear()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the histogram."""
        return {
            "count": self.count, "width": self.width, "sum": self._sum, "deviation": self._deviation,
            "statistic": self.statistic, "threshold": self.threshold,
            "rows": [[list(bucket) for bucket in row] for row in self._rows],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a histogram."""
        self.count, self.width = int(state["count"]), int(state["width"])
        self._sum, self._deviation = float(state["sum"]), float(state["deviation"])
        self.statistic, self.threshold = float(state["statistic"]), float(state["threshold"])
        self._rows = [[(float(total), float(spread)) for total, spread in row] for row in state["rows"]]

    def _insert(self, value: float) -> None:
        self._rows[0].append((value, 0.0))
        if self.width:
            self._deviation += self.width * (value - self.mean) ** 2 / (self.width + 1)
        self.width += 1
        self._sum += value
        for level, row in enumerate(self._rows):  # two buckets of a full row become one of the next
            if len(row) <= ROW:
                break
            if level + 1 == len(self._rows):
                self._rows.append([])
            (a, spread_a), (b, spread_b) = row[:2]
            del row[:2]
            size = 1 << level
            between = size * (a / size - b / size) ** 2 / 2
            self._rows[level + 1].append((a + b, spread_a + spread_b + between))

    def _buckets(self) -> Iterator[tuple[int, float]]:
        """Yield size and sum of each bucket, oldest first."""
        for level in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[level]:
                yield 1 << level, total

    def _shrink(self) -> bool:
        """Drop the oldest bucket as long as some cut of the window divides two different means."""
        risen, cut = False, True
        while cut and self.width > self.config.grace:
            cut = False
            self.statistic, self.threshold = -math.inf, math.nan
            old, old_sum = 0, 0.0
            for size, total in list(self._buckets()):
                old, old_sum = old + size, old_sum + total
                new = self.width - old
                if new < SHORTEST + 1:
                    break
                if old < SHORTEST + 1:
                    continue
                change = (self._sum - old_sum) / new - old_sum / old
                bound = self._bound(old, new)
                if math.isnan(self.threshold) or abs(change) - bound > self.statistic - self.threshold:
                    self.statistic, self.threshold = abs(change), bound
                if abs(change) > bound:
                    risen, cut = risen or change > 0, True
                    self._drop()
                    break
            if self.statistic == -math.inf:
                self.statistic = math.nan
        return risen

    def _bound(self, old: int, new: int) -> float:
        """Return the paper's epsilon for a cut, by the variance of the window (its equation 3.1)."""
        variance = self._deviation / self.width
        inverse = 1 / (old - SHORTEST + 1) + 1 / (new - SHORTEST + 1)
        log = math.log(2 * math.log(self.width) / self.config.delta)
        return math.sqrt(2 * inverse * variance * log) + 2 / 3 * inverse * log

    def _drop(self) -> None:
        level = len(self._rows) - 1
        total, spread = self._rows[level].pop(0)
        size = 1 << level
        self.width -= size
        self._sum -= total
        if self.width:
            between = size * self.width * (total / size - self.mean) ** 2 / (size + self.width)
            self._deviation = max(0.0, self._deviation - spread - between)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()
