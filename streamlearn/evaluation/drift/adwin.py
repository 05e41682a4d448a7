"""ADWIN: Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from streamlearn.evaluation.drift.base import restored, saved
from streamlearn.evaluation.drift.family import ADWINConfig, Kind

ROW = 5  # buckets of one size, before two of them become one of twice the size
SHORTEST = 5  # observations on each side of a cut


class ADWIN:
    """Keeps a window as long as its mean does not change: drift is where two parts of it have different means.

    The window is an exponential histogram of at most log2(n) rows of buckets (ADWIN2, section 4 of the paper), so
    memory is logarithmic in its length. Where a cut shows two means, the oldest buckets are dropped until none does;
    what remains is the window from there on. A change in the other direction than `direction` shortens the window too,
    but is not called drift.

    `statistic` and `threshold` are the difference of means and the paper's bound: at the cut where drift was called,
    else at the cut that came nearest to it.
    """

    takes: ClassVar[Kind] = "number"

    Config = ADWINConfig

    def __init__(self, config: ADWINConfig) -> None:
        self.config = config
        self.statistic = self.threshold = math.nan
        # Each bucket has a sum and a sum of squared deviations; those of row i hold 2**i observations, oldest first.
        self._rows: list[list[tuple[float, float]]] = [[]]
        self.count, self.width, self._sum, self._deviation = 0, 0, 0.0, 0.0

    @property
    def mean(self) -> float:
        """The mean of the window; nan while it is empty."""
        return self._sum / self.width if self.width else math.nan

    def update(self, value: float) -> bool:
        """Take in an observation; return whether the mean has changed."""
        self.count += 1
        self._insert(float(value))
        if self.count % self.config.every or self.width <= self.config.grace:
            return False
        self.statistic = self.threshold = math.nan
        drift = False
        while True:
            change, bound = self._widest()
            cut = abs(change) > bound
            called = cut and {"up": change > 0, "down": change < 0, "both": True}[self.config.direction]
            if not drift and (called or not cut):  # a reading that calls drift stands
                self.statistic, self.threshold = (change if self.config.direction == "up" else -change), bound
                if self.config.direction == "both":
                    self.statistic = abs(change)
            drift = drift or called
            if not cut:
                return drift
            self._drop()

    def state_dict(self) -> dict[str, Any]:
        """Return the histogram."""
        return {
            "count": self.count, "width": self.width, "sum": self._sum, "deviation": self._deviation,
            "statistic": saved(self.statistic), "threshold": saved(self.threshold),
            "rows": [[list(bucket) for bucket in row] for row in self._rows],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a histogram."""
        self.count, self.width = int(state["count"]), int(state["width"])
        self._sum, self._deviation = float(state["sum"]), float(state["deviation"])
        self.statistic, self.threshold = restored(state["statistic"]), restored(state["threshold"])
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

    def _widest(self) -> tuple[float, float]:
        """Return by how much the mean changes, and the paper's bound, at the first cut that shows a change, oldest
        first; at the nearest one if none does, and nan where the window is too short to be cut."""
        change = bound = math.nan
        old, old_sum = 0, 0.0
        if self.width < 2 * SHORTEST:
            return change, bound
        variance = self._deviation / self.width
        log = math.log(2 * math.log(self.width) / self.config.delta)
        for level in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[level]:
                old, old_sum = old + (1 << level), old_sum + total
                new = self.width - old
                if old < SHORTEST or new < SHORTEST:
                    continue
                difference = (self._sum - old_sum) / new - old_sum / old
                inverse = 1 / (old - SHORTEST + 1) + 1 / (new - SHORTEST + 1)
                epsilon = math.sqrt(2 * inverse * variance * log) + 2 / 3 * log * inverse  # equation 3.1
                if math.isnan(change) or abs(difference) - epsilon > abs(change) - bound:
                    change, bound = difference, epsilon
                if abs(difference) > epsilon:
                    return difference, epsilon
        return change, bound

    def _drop(self) -> None:
        """Drop the oldest bucket."""
        row, size = self._rows[-1], 1 << (len(self._rows) - 1)
        total, spread = row.pop(0)
        self.width -= size
        self._sum -= total
        between = size * self.width * (total / size - self.mean) ** 2 / (size + self.width)
        self._deviation = max(0.0, self._deviation - spread - between)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()
