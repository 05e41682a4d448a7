"""/metrics: one collector that reads the catalogue's figures when Prometheus asks."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamlearn.core.timing import Histogram
from streamlearn.observability.catalogue import CATALOGUE, HISTOGRAMS
from streamlearn.observability.figures import Entry

if TYPE_CHECKING:
    from streamlearn.service.loop import Service

Family = CounterMetricFamily | GaugeMetricFamily


class ServiceCollector(Collector):
    """Reads the service's state each time Prometheus asks. The loop itself knows nothing of it."""

    def __init__(self, service: "Service") -> None:
        self.service = service
        self._took = service.stages.histogram("export")

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the catalogue, and take the time of it: it is taken from the loop's."""
        start = self.service.stages.clock()
        yield from self._metrics()
        self._took.observe(self.service.stages.clock() - start)

    def _metrics(self) -> Iterator[Metric]:
        # What is applied again was counted before: until it has caught up, a counter would seem to fall and rise.
        behind = self.service.lifecycle.progress is not None
        for entry in CATALOGUE:
            if behind and entry.kind == "counter":
                continue
            make: type[Family] = CounterMetricFamily if entry.kind == "counter" else GaugeMetricFamily
            family = make(f"streamlearn_{entry.name}", entry.help, labels=entry.labels)
            for labels, value in samples(entry, self.service):
                family.add_metric(labels, value)
            yield family
        for histogram in HISTOGRAMS:
            shown = HistogramMetricFamily(f"streamlearn_{histogram.name}", histogram.help, labels=histogram.labels)
            for labels, counts in histogram.read(self.service):
                shown.add_metric(labels, buckets=_cumulative(counts), sum_value=counts.sum)
            yield shown


def samples(entry: Entry, service: "Service") -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the values of the labels with what is read; a figure that is not known is a gap."""
    reading = entry.read(service)
    numbers = {**dict.fromkeys(entry.known, 0), **reading} if isinstance(reading, Mapping) else {(): reading}
    for key, value in numbers.items():
        if math.isfinite(value):
            yield key if isinstance(key, tuple) else (key,), value


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    total = 0
    buckets = []
    for bound, count in zip((*histogram.bounds, math.inf), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if math.isinf(bound) else repr(float(bound)), float(total)))
    return buckets
