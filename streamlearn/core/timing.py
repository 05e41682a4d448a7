"""Where the time goes: seconds by stage, and histograms. Nothing that is learned depends on it."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt


class Histogram:
    """Counts of observations by upper bound, as Prometheus has them.

    Args:
        bounds: upper bounds in ascending order; one more bucket takes what lies above.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count an observation, or several of the same value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """Count many observations at once."""
        for bucket, count in enumerate(np.bincount(np.searchsorted(self.bounds, values)).tolist()):
            self.counts[bucket] += count
        self.sum += float(values.sum())


class Stages:
    """Adds up the seconds of each stage of the loop.

    Args:
        bounds: of the histogram that each stage keeps, in seconds.
        clock: returns seconds; only differences count.
    """

    def __init__(
        self,
        bounds: Sequence[float] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.bounds, self.clock = bounds, clock
        self.histograms: dict[str, Histogram] = {}
        self._inner: dict[str, float] = {}  # seconds of stages within one that still runs

    @contextmanager
    def __call__(self, stage: str, *, within: str | None = None) -> Iterator[None]:
        """Take the time of the block. `within` names a stage in whose block this one lies: it is taken off there."""
        start = self.clock()
        try:
            yield
        finally:
            seconds = self.clock() - start
            if within is not None:
                self._inner[within] = self._inner.get(within, 0.0) + seconds
            self.add(stage, seconds - self._inner.pop(stage, 0.0))

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self.histogram(stage).observe(seconds)

    def histogram(self, stage: str) -> Histogram:
        """Return the histogram of a stage, made where it is not there yet."""
        if stage not in self.histograms:
            self.histograms[stage] = Histogram(self.bounds)
        return self.histograms[stage]

    def seconds(self) -> dict[str, float]:
        """Return the total of each stage."""
        return {stage: histogram.sum for stage, histogram in sorted(self.histograms.copy().items())}
