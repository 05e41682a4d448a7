"""What the service tells of itself: one catalogue, from which /metrics, `--json` and /api/state are made.

`exporter` makes /metrics of it, where a name begins with `streamlearn_` and a counter's ends in `_total`; `summary`
makes the object of `--json`, and `status` the figures of /api/state.
"""

import math
from typing import get_args

from streamlearn.core.refusal import Reason
from streamlearn.observability.figures import (
    Entry,
    Figure,
    HistogramEntry,
    by_label,
    drift,
    fractions,
    mean,
    memory,
    predictions,
)

REASONS = get_args(Reason)  # each from the start: a series that begins at 1 hides its first rise
OUTCOMES = (
    *("learned", "probe", "discarded", "held_back", "expired", "forgotten", "duplicate", "correction", "orphan"),
)


CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "events",
        "counter",
        "Events taken from the topic, good or bad.",
        lambda s: s.totals.events,
        summary="events",
        page="events",
    ),
    Entry(
        "predictions",
        "counter",
        "Predictions published, by predicted label; an empty one: the model abstained.",
        predictions,
        ("label",),
        summary="predictions",
        page="predictions",
        row="predictions",
    ),
    Entry(
        "novel_events", "counter", "Events marked as unlike every known class.", lambda s: s.totals.novel, page="novel"
    ),
    Entry(
        "duplicate_events",
        "counter",
        "Events that had come before, by their id; they are not predicted again.",
        lambda s: s.totals.duplicates,
        page="duplicate_events",
    ),
    Entry(
        "forget_requests",
        "counter",
        "Records that asked that an id is forgotten.",
        lambda s: s.totals.forgets,
        summary="forget_requests",
        page="forget_requests",
    ),
    Entry(
        "expired_events",
        "counter",
        "Events that left without a label, by the setting that bounded their wait.",
        lambda s: s.totals.expired.copy(),
        ("bound",),
        ("ttl", "capacity"),
        page="expired_events",
    ),
    Entry(
        "label_requests",
        "counter",
        "Events whose label was asked for (label_requests.budget).",
        lambda s: s.totals.label_requests,
    ),
    Entry(
        "label_request_share",
        "gauge",
        "Share of the latest 1,000 events without a label whose label was asked for (fraction).",
        lambda s: s.requests.share,
    ),
    Entry(
        "labels",
        "counter",
        "Labels by what became of them.",
        lambda s: s.totals.labels.copy(),
        ("outcome",),
        OUTCOMES,
        summary="labels",
    ),
    Entry(
        "dead_letters",
        "counter",
        "Records that could not be taken, by reason.",
        lambda s: s.totals.dead_letters.copy(),
        ("reason",),
        REASONS,
        summary="dead_letters",
        page="dead_letters",
    ),
    Entry("learner_steps", "counter", "Optimizer steps taken.", lambda s: s.learner.step, summary="learner_step"),
    Entry(
        "learner_steps_skipped",
        "counter",
        "Steps not taken because loss or gradient was not finite.",
        lambda s: s.totals.steps_skipped,
    ),
    Entry(
        "samples_learned",
        "counter",
        "Samples that took part in a step, by origin.",
        lambda s: {"new": s.totals.samples_new, "replay": s.totals.samples_replayed},
        ("origin",),
        ("new", "replay"),
        summary="samples_learned",
    ),
    Entry(
        "commits",
        "counter",
        "Batches and other records of the journal committed, by outcome.",
        lambda s: s.publisher.commits.copy(),
        ("outcome",),
        ("committed", "aborted", "failed"),
    ),
    Entry(
        "snapshots",
        "counter",
        "Snapshots of the state, by outcome.",
        lambda s: {"written": 0, "failed": 0, **s.keeper.outcomes} if s.keeper is not None else {},
        ("outcome",),
    ),
    Entry(
        "recovery_horizon_seconds",
        "gauge",
        "Time until an input topic may delete a record that a restart would have to learn again.",
        lambda s: s.keeper.horizon(s.clock()) if s.keeper is not None else math.inf,
    ),
    Entry(
        "batches_left_to_reapply",
        "gauge",
        "Batches of the past that are still to be learned again after the start; 0 once predictions flow.",
        lambda s: p.total - p.done if (p := s.lifecycle.progress) is not None else 0,
    ),
    Entry(
        "prequential_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events (fraction).",
        lambda s: s.measures.prequential.accuracy,
        page="accuracy",
    ),
    Entry(
        "prequential_loss",
        "gauge",
        "Mean negative log-probability of the last labels (nats).",
        lambda s: s.measures.prequential.loss,
        page="loss",
    ),
    Entry(
        "prequential_kappa",
        "gauge",
        "Agreement of the last predictions and labels beyond chance (Cohen's kappa).",
        lambda s: s.measures.prequential.figures().get("kappa", math.nan),
        page="kappa",
    ),
    Entry(
        "prequential_coverage",
        "gauge",
        "Share of the last labelled events that were answered, and not abstained from (fraction).",
        lambda s: s.measures.prequential.coverage,
        page="coverage",
    ),
    Entry(
        "prequential_answered_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events that were answered (fraction).",
        lambda s: s.measures.prequential.answered_accuracy,
        page="answered_accuracy",
    ),
    Entry(
        "calibration_error",
        "gauge",
        "Expected calibration error of the last labelled predictions: mean gap between score and accuracy (fraction).",
        lambda s: s.measures.prequential.calibration_error,
        page="calibration_error",
    ),
    Entry(
        "slice_accuracy",
        "gauge",
        "Share of right predictions among the last labelled events of a slice (fraction).",
        lambda s: s.measures.prequential.slice_accuracy(),
        ("slice", "value"),
    ),
    Entry(
        "probe_accuracy",
        "gauge",
        "Share of a label's probes that are answered right (fraction).",
        lambda s: fractions(s, s.measures.probes.accuracy()),
        ("label",),
        row="probe_accuracy",
    ),
    Entry(
        "probe_samples",
        "gauge",
        "Labelled events that are kept out of training as probes, by label.",
        lambda s: by_label(s, s.measures.probes.counts()),
        ("label",),
        page="probes",
    ),
    Entry(
        "labels_without_probes",
        "gauge",
        "Labels that have no probes for want of room (probes.capacity): what they forget is not measured.",
        lambda s: s.measures.probes.refused_labels,
    ),
    Entry(
        "class_forgetting",
        "gauge",
        "How far a label's probe accuracy is below its best so far (fraction).",
        lambda s: fractions(s, s.measures.probes.class_forgetting()),
        ("label",),
        row="forgetting",
    ),
    Entry(
        "forgetting",
        "gauge",
        "Mean of the labels' forgetting: 0 is nothing forgotten (fraction).",
        lambda s: s.measures.probes.forgetting,
        summary="forgetting",
        page="forgetting",
    ),
    Entry(
        "backward_transfer",
        "gauge",
        "Mean change of the labels' probe accuracy since it was first measured (fraction, -1 to 1).",
        lambda s: s.measures.probes.backward_transfer,
        page="backward_transfer",
    ),
    Entry(
        "forward_transfer",
        "gauge",
        "Mean accuracy of the labels' first probes, above chance (fraction, -1 to 1).",
        lambda s: s.measures.probes.forward_transfer,
        page="forward_transfer",
    ),
    Entry(
        "negative_flip_ratio",
        "gauge",
        "Among probes that were answered right the time before, the share that is wrong now (fraction).",
        lambda s: s.measures.probes.negative_flip_ratio,
        page="negative_flip_ratio",
    ),
    Entry(
        "drift_statistic",
        "gauge",
        "What a drift detector reads of a signal; above the threshold it calls drift.",
        lambda s: {signal: statistic for signal, (statistic, _) in drift(s).items()},
        ("detector", "signal"),
    ),
    Entry(
        "drift_threshold",
        "gauge",
        "Where a drift detector calls drift.",
        lambda s: {signal: threshold for signal, (_, threshold) in drift(s).items()},
        ("detector", "signal"),
    ),
    Entry(
        "drift_detections",
        "counter",
        "Drifts that were called, by detector and signal.",
        lambda s: s.measures.monitor.totals() if s.measures.monitor is not None else {},
        ("detector", "signal"),
    ),
    Entry(
        "memory_samples",
        "gauge",
        "Samples in the replay memory, by label.",
        memory,
        ("label",),
        page="memory_samples",
        row="memory",
    ),
    Entry(
        "memory_capacity_samples",
        "gauge",
        "Samples that the replay memory holds at most.",
        lambda s: s.learner.memory.capacity,
        page="memory_capacity",
    ),
    Entry("memory_bytes", "gauge", "Bytes that the replay memory's columns take.", lambda s: s.learner.memory.nbytes),
    Entry(
        "consumer_lag_records",
        "gauge",
        "Records that wait in the topic, by partition.",
        lambda s: {(tp.topic, str(tp.partition)): lag for tp, lag in s.source.lag().items()},
        ("topic", "partition"),
        page="lag",
    ),
    Entry(
        "stalled_partitions",
        "gauge",
        "Partitions that have records and give none, and are being read anew.",
        lambda s: len(s.source.stalled()),
    ),
    Entry(
        "waiting_samples",
        "gauge",
        "Labelled samples that wait for a full batch.",
        lambda s: len(s.learner.waiting),
        page="waiting_samples",
    ),
    Entry(
        "pending_events",
        "gauge",
        "Events that wait for their label.",
        lambda s: len(s.intake.joiner.pending),
        summary="pending_events",
        page="pending_events",
    ),
    Entry(
        "early_labels",
        "gauge",
        "Labels that wait for their event.",
        lambda s: len(s.intake.joiner.early),
        summary="early_labels",
        page="early_labels",
    ),
    Entry(
        "known_labels",
        "gauge",
        "Labels known to the model.",
        lambda s: len(s.learner.task.groups),
        summary="known_labels",
        page="known_labels",
    ),
    Entry(
        "unknown_token_ratio",
        "gauge",
        "Share of tokens that the tokenizer does not know (fraction).",
        lambda s: s.totals.unknown_tokens / s.totals.tokens if s.totals.tokens else math.nan,
    ),
    Entry("learner_step", "gauge", "Step of the learning weights.", lambda s: s.learner.step),
    Entry(
        "champion_step",
        "gauge",
        "Step of the served weights.",
        lambda s: s.champion_step,
        summary="champion_step",
        rises=True,
    ),
    Entry(
        "model_info",
        "gauge",
        "Always 1; its labels name the model, the task and the strategy.",
        lambda s: {(s.root.model.name, s.root.task.name, s.root.strategy.name): 1},
        ("name", "task", "strategy"),
    ),
)

FIGURES: tuple[Figure, ...] = (
    Figure(lambda s: s.totals.predictions[None], page="abstentions"),
    Figure(lambda s: s.totals.samples_new, page="samples_learned"),
    Figure(lambda s: s.totals.samples_replayed, page="samples_rehearsed"),
    Figure(lambda s: mean(s.totals.delay), page="label_delay_seconds"),
    Figure(lambda s: s.measures.prequential.count, page="labelled"),
    Figure(lambda s: s.measures.prequential.total_accuracy, summary="prequential_accuracy", page="total_accuracy"),
    Figure(lambda s: s.root.metrics.window, page="window"),
)

SHOWN: tuple[Entry | Figure, ...] = (*CATALOGUE, *FIGURES)

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
