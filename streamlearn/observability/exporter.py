"""What Prometheus sees: one catalogue of metrics, and one collector that reads the service when it is scraped."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamlearn.core.refusal import Reason
from streamlearn.core.timing import Histogram

if TYPE_CHECKING:
    from streamlearn.service.loop import Service

OTHER = "other"
REASONS = get_args(Reason)  # each from the start: a series that begins at 1 hides its first rise
ABSTAINED = ""  # no label can be called so
OUTCOMES = (
    *("learned", "probe", "discarded", "held_back", "expired", "forgotten", "duplicate", "correction", "orphan"),
)
BOUNDS = ("ttl", "capacity")

Sample = tuple[tuple[str, ...], float]
Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Entry:
    """A metric: what it is called (without the prefix), what it means, its labels, and how to read its samples."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: "Callable[[Service], Iterable[Sample]]"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HistogramEntry:
    """A histogram: like `Entry`, but its samples are histograms."""

    name: str
    help: str
    read: "Callable[[Service], Iterable[tuple[tuple[str, ...], Histogram]]]"
    labels: tuple[str, ...] = ()


def _one(value: float) -> list[Sample]:
    return [((), value)]


def _if_known(value: float) -> list[Sample]:
    """A measure that has no value yet is left out: a gap on the dashboard, not a false figure."""
    return [] if math.isnan(value) else _one(value)


def _if_finite(value: float) -> list[Sample]:
    return _one(value) if math.isfinite(value) else []


def _by(counts: Mapping[str, float], known: Iterable[str] = ()) -> list[Sample]:
    return [((key,), value) for key, value in {**dict.fromkeys(known, 0), **counts}.items()]


def _by_label(service: "Service", counts: Mapping[str, float]) -> list[Sample]:
    """One sample a label, up to `metrics.max_labels` of them in the order in which they became known."""
    own = set(service.learner.task.groups[: service.root.metrics.max_labels])
    bounded: Counter[str] = Counter()
    for label, count in counts.items():
        bounded[label if label in own or label == ABSTAINED else OTHER] += int(count)
    return _by(bounded)


def _fractions(service: "Service", values: Mapping[str, float]) -> list[Sample]:
    """One sample a label; those past `metrics.max_labels` are left out, since fractions do not add up."""
    own = set(service.learner.task.groups[: service.root.metrics.max_labels])
    return [((label,), value) for label, value in values.items() if label in own and not math.isnan(value)]


def _drift(service: "Service", part: Literal["statistic", "threshold"]) -> list[Sample]:
    readings = service.measures.monitor.readings() if service.measures.monitor is not None else ()
    values = [((each.detector, each.signal), float(getattr(each, part))) for each in readings]
    return [(labels, value) for labels, value in values if math.isfinite(value)]


def _detections(service: "Service") -> list[Sample]:
    return list(service.measures.monitor.totals().items()) if service.measures.monitor is not None else []


def _predictions(service: "Service") -> list[Sample]:
    counts = {
        ABSTAINED if label is None else label: count for label, count in service.totals.predictions.copy().items()
    }
    return _by_label(service, counts)


def _memory(service: "Service") -> list[Sample]:
    names, counts = list(service.learner.task.groups), service.learner.memory.counts()
    return _by_label(service, {name: counts.get(number, 0) for number, name in enumerate(names)})


CATALOGUE: tuple[Entry, ...] = (
    Entry("events", "counter", "Events taken from the topic, good or bad.", lambda s: _one(s.totals.events)),
    Entry(
        "predictions",
        "counter",
        "Predictions published, by predicted label; an empty one: the model abstained.",
        _predictions,
        ("label",),
    ),
    Entry(
        "novel_events",
        "counter",
        "Events marked as unlike every known class.",
        lambda s: _one(s.totals.novel),
    ),
    Entry(
        "duplicate_events",
        "counter",
        "Events that had come before, by their id; they are not predicted again.",
        lambda s: _one(s.totals.duplicates),
    ),
    Entry(
        "forget_requests",
        "counter",
        "Records that asked that an id is forgotten.",
        lambda s: _one(s.totals.forgets),
    ),
    Entry(
        "expired_events",
        "counter",
        "Events that left without a label, by the setting that bounded their wait.",
        lambda s: _by(s.totals.expired.copy(), BOUNDS),
        ("bound",),
    ),
    Entry(
        "label_requests",
        "counter",
        "Events whose label was asked for (label_requests.budget).",
        lambda s: _one(s.totals.label_requests),
    ),
    Entry(
        "label_request_share",
        "gauge",
        "Share of the latest 1,000 events without a label whose label was asked for (fraction).",
        lambda s: _if_known(s.requests.share),
    ),
    Entry(
        "labels",
        "counter",
        "Labels by what became of them.",
        lambda s: _by(s.totals.labels.copy(), OUTCOMES),
        ("outcome",),
    ),
    Entry(
        "dead_letters",
        "counter",
        "Records that could not be taken, by reason.",
        lambda s: _by(s.totals.dead_letters.copy(), REASONS),
        ("reason",),
    ),
    Entry("learner_steps", "counter", "Optimizer steps taken.", lambda s: _one(s.learner.step)),
    Entry(
        "learner_steps_skipped",
        "counter",
        "Steps not taken because loss or gradient was not finite.",
        lambda s: _one(s.totals.steps_skipped),
    ),
    Entry(
        "samples_learned",
        "counter",
        "Samples that took part in a step, by origin.",
        lambda s: _by({"new": s.totals.samples_new, "replay": s.totals.samples_replayed}),
        ("origin",),
    ),
    Entry(
        "commits",
        "counter",
        "Batches and other records of the journal committed, by outcome.",
        lambda s: _by(s.publisher.commits.copy(), ("committed", "aborted", "failed")),
        ("outcome",),
    ),
    Entry(
        "snapshots",
        "counter",
        "Snapshots of the state, by outcome.",
        lambda s: _by(s.keeper.outcomes, ("written", "failed")) if s.keeper is not None else [],
        ("outcome",),
    ),
    Entry(
        "recovery_horizon_seconds",
        "gauge",
        "Time until an input topic may delete a record that a restart would have to learn again.",
        lambda s: _if_finite(s.keeper.horizon(s.clock())) if s.keeper is not None else [],
    ),
    Entry(
        "batches_left_to_reapply",
        "gauge",
        "Batches of the past that are still to be learned again after the start; 0 once predictions flow.",
        lambda s: _one(p.total - p.done if (p := s.lifecycle.progress) is not None else 0),
    ),
    Entry(
        "prequential_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events (fraction).",
        lambda s: _if_known(s.measures.prequential.accuracy),
    ),
    Entry(
        "prequential_loss",
        "gauge",
        "Mean negative log-probability of the last labels (nats).",
        lambda s: _if_known(s.measures.prequential.loss),
    ),
    Entry(
        "prequential_kappa",
        "gauge",
        "Agreement of the last predictions and labels beyond chance (Cohen's kappa).",
        lambda s: _if_known(s.measures.prequential.figures().get("kappa", math.nan)),
    ),
    Entry(
        "prequential_coverage",
        "gauge",
        "Share of the last labelled events that were answered, and not abstained from (fraction).",
        lambda s: _if_known(s.measures.prequential.coverage),
    ),
    Entry(
        "prequential_answered_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events that were answered (fraction).",
        lambda s: _if_known(s.measures.prequential.answered_accuracy),
    ),
    Entry(
        "calibration_error",
        "gauge",
        "Expected calibration error of the last labelled predictions: mean gap between score and accuracy (fraction).",
        lambda s: _if_known(s.measures.prequential.calibration_error),
    ),
    Entry(
        "slice_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events of a slice (fraction).",
        lambda s: list(s.measures.prequential.slice_accuracy().items()),
        ("slice", "value"),
    ),
    Entry(
        "probe_accuracy",
        "gauge",
        "Share of a label's probes that are answered right (fraction).",
        lambda s: _fractions(s, s.measures.probes.accuracy()),
        ("label",),
    ),
    Entry(
        "probe_samples",
        "gauge",
        "Labelled events that are kept out of training as probes, by label.",
        lambda s: _by_label(s, s.measures.probes.counts()),
        ("label",),
    ),
    Entry(
        "class_forgetting",
        "gauge",
        "How far a label's probe accuracy is below its best so far (fraction).",
        lambda s: _fractions(s, s.measures.probes.class_forgetting()),
        ("label",),
    ),
    Entry(
        "forgetting",
        "gauge",
        "Mean of the labels' forgetting: 0 is nothing forgotten (fraction).",
        lambda s: _if_known(s.measures.probes.forgetting),
    ),
    Entry(
        "backward_transfer",
        "gauge",
        "Mean change of the labels' probe accuracy since it was first measured (fraction, -1 to 1).",
        lambda s: _if_known(s.measures.probes.backward_transfer),
    ),
    Entry(
        "forward_transfer",
        "gauge",
        "Mean accuracy of the labels' first probes, above chance (fraction, -1 to 1).",
        lambda s: _if_known(s.measures.probes.forward_transfer),
    ),
    Entry(
        "negative_flip_ratio",
        "gauge",
        "Among probes that were answered right the time before, the share that is wrong now (fraction).",
        lambda s: _if_known(s.measures.probes.negative_flip_ratio),
    ),
    Entry(
        "drift_statistic",
        "gauge",
        "What a drift detector reads of a signal; above the threshold it calls drift.",
        lambda s: _drift(s, "statistic"),
        ("detector", "signal"),
    ),
    Entry(
        "drift_threshold",
        "gauge",
        "Where a drift detector calls drift.",
        lambda s: _drift(s, "threshold"),
        ("detector", "signal"),
    ),
    Entry(
        "drift_detections",
        "counter",
        "Drifts that were called, by detector and signal.",
        _detections,
        ("detector", "signal"),
    ),
    Entry("memory_samples", "gauge", "Samples in the replay memory, by label.", _memory, ("label",)),
    Entry(
        "memory_capacity_samples",
        "gauge",
        "Samples that the replay memory holds at most.",
        lambda s: _one(s.learner.memory.capacity),
    ),
    Entry(
        "memory_bytes", "gauge", "Bytes that the replay memory's columns take.", lambda s: _one(s.learner.memory.nbytes)
    ),
    Entry(
        "consumer_lag_records",
        "gauge",
        "Records that wait in the topic, by partition.",
        lambda s: [((tp.topic, str(tp.partition)), lag) for tp, lag in s.source.lag().items()],
        ("topic", "partition"),
    ),
    Entry(
        "stalled_partitions",
        "gauge",
        "Partitions that have records and give none, and are being read anew.",
        lambda s: _one(len(s.source.stalled())),
    ),
    Entry(
        "waiting_samples",
        "gauge",
        "Labelled samples that wait for a full batch.",
        lambda s: _one(len(s.learner.waiting)),
    ),
    Entry("pending_events", "gauge", "Events that wait for their label.", lambda s: _one(len(s.intake.joiner.pending))),
    Entry("early_labels", "gauge", "Labels that wait for their event.", lambda s: _one(len(s.intake.joiner.early))),
    Entry("known_labels", "gauge", "Labels known to the model.", lambda s: _one(len(s.learner.task.groups))),
    Entry(
        "unknown_token_ratio",
        "gauge",
        "Share of tokens that the tokenizer does not know (fraction).",
        lambda s: _if_known(s.totals.unknown_tokens / s.totals.tokens if s.totals.tokens else math.nan),
    ),
    Entry("learner_step", "gauge", "Step of the learning weights.", lambda s: _one(s.learner.step)),
    Entry("champion_step", "gauge", "Step of the served weights.", lambda s: _one(s.champion_step)),
    Entry(
        "model_info",
        "gauge",
        "Always 1; its labels name the model, the task and the strategy.",
        lambda s: [((s.root.model.name, s.root.task.name, s.root.strategy.name), 1)],
        ("name", "task", "strategy"),
    ),
)

HISTOGRAMS: tuple[HistogramEntry, ...] = (
    HistogramEntry(
        "prediction_latency_seconds",
        "From an event's poll to the commit of its prediction.",
        lambda s: [((), s.totals.latency)],
    ),
    HistogramEntry(
        "event_age_seconds", "From an event's own time to the commit of its prediction.", lambda s: [((), s.totals.age)]
    ),
    HistogramEntry(
        "label_delay_seconds",
        "From an event's own time to that of its label, where the label came later than the event.",
        lambda s: [((), s.totals.delay)],
    ),
    HistogramEntry(
        "stage_duration_seconds",
        "Time of a stage of the loop; `wait` is waiting for records.",
        lambda s: [((stage,), histogram) for stage, histogram in s.stages.histograms.copy().items()],
        ("stage",),
    ),
)


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
            for labels, value in entry.read(self.service):
                family.add_metric(labels, value)
            yield family
        for histogram in HISTOGRAMS:
            shown = HistogramMetricFamily(f"streamlearn_{histogram.name}", histogram.help, labels=histogram.labels)
            for labels, counts in histogram.read(self.service):
                shown.add_metric(labels, buckets=_cumulative(counts), sum_value=counts.sum)
            yield shown


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    total = 0
    buckets = []
    for bound, count in zip((*histogram.bounds, math.inf), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if math.isinf(bound) else repr(float(bound)), float(total)))
    return buckets
