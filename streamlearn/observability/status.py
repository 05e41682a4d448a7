"""What the status page shows: the service as it is now, and a bounded history of what it did.

`state` gives what `/api/state` serves. Fractions are 0 to 1, times are seconds since 1970, and None stands for what has
no value yet. Event ids are never in it; texts and their labels only where `web.show_payloads` is true.

    name, version, time, uptime_seconds
    status         starting, recovering, warming up, live, stalled (no turn for `limits.progress_seconds`) or stopping
    topics         {events, labels, predictions, dead_letters}; labels is None where they come in events alone
    model          {name, task, strategy, device, step, champion_step}
    now            the figures: totals, prequential measures over the last `window` labels, forgetting, rates, lag,
                   what waits for a label or an event, and the mean delay of labels that came late since the start
    labels         [{label, memory, probe_accuracy, forgetting, predictions}], the first `metrics.max_labels`
    outcomes       what became of the labels: {outcome: count}
    dead_letters   {reason: count}
    drift          [{detector, signal, statistic, threshold, ratio, detections}]
    detections     [{time, detector, signal, statistic, threshold}], the latest 100
    lag            [{topic, partition, records}]
    stage_seconds  {stage: seconds}
    series         columns of equal length, see `History.columns`; None without a dashboard
    recent         [{time, text, label, predicted, score, outcome}], the latest last; None where payloads are not shown
"""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from streamlearn import __version__
from streamlearn.core.target import Target
from streamlearn.stream.events import Event, Prediction

if TYPE_CHECKING:
    from streamlearn.service.loop import Service
    from streamlearn.service.turn import Turn

SAMPLE_SECONDS = 1.0
RATE_SAMPLES = 10  # what "events a second" looks back on
DETECTIONS = 100
RECENT = 50
TEXT = 300  # characters of a text that are shown

Signal = tuple[str, str]  # detector and signal


class Point(NamedTuple):
    """The service at a moment: counts since its start, measures as they were, None where there is none yet."""

    time: float
    events: int
    labels: int
    dead_letters: int
    accuracy: float | None
    kappa: float | None
    forgetting: float | None
    lag: int
    known_labels: int
    learner_step: int
    drift: Mapping[Signal, float]  # statistic over threshold: 1 is where drift is called


class History:
    """A series of points that covers any length of time: at most `points`, one for each interval of `seconds`.

    Once there is one more, the interval doubles and the points of what is then the same interval become one. Of several
    points the last one stays, so rates between points remain exact means; of drift the peak stays.

    Args:
        start: the service when the history begins; not a point of it, but where the first rates count from.
        seconds: the interval to begin with.
        points: how many there are at most.
    """

    def __init__(self, start: Point, seconds: float = SAMPLE_SECONDS, points: int = 600) -> None:
        assert points >= 2, "two points make a line"
        self.start, self.seconds, self.most = start, seconds, points
        self._points: tuple[Point, ...] = ()

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: Point) -> None:
        """Take in a point. One whose clock was set back counts as taken when the last one was."""
        if self._points and point.time < self._points[-1].time:
            point = point._replace(time=self._points[-1].time)
        points = [*self._points[:-1], *self._merged([*self._points[-1:], point])]
        while len(points) > self.most:
            self.seconds *= 2
            points = self._merged(points)
        self._points = tuple(points)  # replaced in one go: other threads read it

    def columns(self) -> dict[str, Any]:
        """Return the points as columns.

        seconds                             the interval
        time                                when each interval was last looked at
        events_per_second, labels_per_second  mean since the point before
        accuracy, kappa, forgetting, lag, known_labels, learner_step, dead_letters (since the start)
        drift                               [{detector, signal, ratio: column}]
        """
        points = self._points
        before = (self.start, *points)
        signals = sorted({signal for point in points for signal in point.drift})
        plain = ("time", "accuracy", "kappa", "forgetting", "lag", "known_labels", "learner_step", "dead_letters")
        return {
            "seconds": self.seconds,
            **{name: [getattr(point, name) for point in points] for name in plain},
            "events_per_second": [
                _rate(b.events - a.events, b.time - a.time) for a, b in zip(before, points, strict=False)
            ],
            "labels_per_second": [
                _rate(b.labels - a.labels, b.time - a.time) for a, b in zip(before, points, strict=False)
            ],
            "drift": [
                {"detector": detector, "signal": signal, "ratio": [p.drift.get((detector, signal)) for p in points]}
                for detector, signal in signals
            ],
        }

    def _merged(self, points: Sequence[Point]) -> list[Point]:
        merged: list[Point] = []
        for point in points:
            if merged and point.time // self.seconds == merged[-1].time // self.seconds:
                peaks = {
                    signal: max(ratio, merged[-1].drift.get(signal, ratio)) for signal, ratio in point.drift.items()
                }
                merged[-1] = point._replace(drift={**merged[-1].drift, **peaks})
            else:
                merged.append(point)
        return merged


class Recent:
    """The latest predictions with text and label, for owners who want to see them on the page."""

    def __init__(self, size: int = RECENT) -> None:
        self.size = size
        self._rows: deque[tuple[Event, Prediction, float]] = deque(maxlen=size)

    def add(self, events: Sequence[Event], predictions: Sequence[Prediction], now: float) -> None:
        """Take in the last rows of a turn."""
        self._rows.extend(zip(events[-self.size :], predictions[-self.size :], repeat(now)))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, the latest last; long texts are cut."""
        return [
            {
                "time": now,
                "text": event.text if len(event.text) <= TEXT else event.text[:TEXT] + "…",
                "label": event.label,
                "predicted": prediction.label,
                "score": prediction.score,
                "outcome": _outcome(event.label, prediction),
            }
            for event, prediction, now in self._rows.copy()
        ]


class Dashboard:
    """Looks at every turn of the loop, and remembers what the page shows beyond the present.

    `observe` is for the loop, everything else may be read from any thread.

    Args:
        service: what is looked at; its clock gives the times.
        points: how many points the history has at most.
    """

    def __init__(self, service: "Service", points: int = 600) -> None:
        self.service, self._clock = service, service.clock
        start = sample(service, self._clock())
        self.history = History(start, points=points)
        self.detections: deque[dict[str, Any]] = deque(maxlen=DETECTIONS)
        self.recent = Recent() if service.root.web.show_payloads else None
        self._latest: deque[Point] = deque([start], maxlen=RATE_SAMPLES + 1)
        self._sampled_at = start.time

    def observe(self, turn: "Turn") -> None:
        """Look at a turn; once a second take a sample of the service."""
        now = self._clock()
        for found in turn.detections:
            self.detections.append(
                {
                    "time": now,
                    "detector": found.detector,
                    "signal": found.signal,
                    "statistic": _known(found.statistic),
                    "threshold": _known(found.threshold),
                }
            )
        if self.recent is not None and turn.events:
            self.recent.add(turn.events, turn.predictions, now)
        if 0 <= now - self._sampled_at < SAMPLE_SECONDS:
            return
        self._sampled_at = now
        point = sample(self.service, now)
        self._latest.append(point)
        self.history.add(point)

    def rates(self) -> tuple[float | None, float | None]:
        """Return events and labels a second over the last samples."""
        latest = list(self._latest.copy())
        first, last = latest[0], latest[-1]
        seconds = last.time - first.time
        return _rate(last.events - first.events, seconds), _rate(last.labels - first.labels, seconds)


def sample(service: "Service", now: float) -> Point:
    """Return the service as a point of the history."""
    totals = service.totals
    drift = {}
    for reading in service.measures.monitor.readings() if service.measures.monitor is not None else ():
        ratio = _ratio(reading.statistic, reading.threshold)
        if ratio is not None:
            drift[reading.detector, reading.signal] = ratio
    return Point(
        time=round(now, 1),
        events=totals.events,
        labels=service.measures.prequential.count,
        dead_letters=totals.dead_letters.total(),
        accuracy=_known(service.measures.prequential.accuracy),
        kappa=_known(service.measures.prequential.figures().get("kappa", math.nan)),
        forgetting=_known(service.measures.probes.forgetting),
        lag=sum(service.source.lag().values()),
        known_labels=len(service.learner.task.groups),
        learner_step=service.learner.step,
        drift=drift,
    )


def state(service: "Service", dashboard: Dashboard | None = None) -> dict[str, Any]:
    """Return all that the page shows, in JSON values; see the head of this module."""
    root, learner = service.root, service.learner
    topics = root.kafka.topics
    lag = service.source.lag()
    return {
        "name": root.name,
        "version": __version__,
        "time": service.clock(),
        "uptime_seconds": round(time.monotonic() - service.lifecycle.started_at, 1),
        "status": status(service),
        "topics": {
            "events": topics.events,
            "labels": topics.labels,
            "predictions": topics.predictions,
            "dead_letters": topics.dead_letters,
        },
        "model": {
            "name": root.model.name,
            "task": root.task.name,
            "strategy": root.strategy.name,
            "device": str(learner.model.device),
            "step": learner.step,
            "champion_step": service.champion_step,
        },
        "now": _figures(service, dashboard, sum(lag.values())),
        "labels": _labels(service),
        "outcomes": dict(service.totals.labels.copy()),
        "dead_letters": dict(service.totals.dead_letters.copy()),
        "drift": _drift(service),
        "detections": list(dashboard.detections.copy()) if dashboard else [],
        "lag": [
            {"topic": place.topic, "partition": place.partition, "records": records}
            for place, records in sorted(lag.items())
        ],
        "stage_seconds": {stage: round(sum_, 3) for stage, sum_ in service.stages.seconds().items() if sum_ >= 0.001},
        "series": dashboard.history.columns() if dashboard else None,
        "recent": dashboard.recent.rows() if dashboard and dashboard.recent is not None else None,
    }


def status(service: "Service") -> str:
    """Return where the service is in its life: starting, recovering, warming up, live, stalled or stopping."""
    life = service.lifecycle
    if life.live and time.monotonic() - life.turned_at >= service.root.limits.progress_seconds:
        return "stalled"
    return life.phase.value


def _figures(service: "Service", dashboard: Dashboard | None, lag: int) -> dict[str, float | None]:
    totals, prequential, probes = service.totals, service.measures.prequential, service.measures.probes
    events_per_second, labels_per_second = dashboard.rates() if dashboard else (None, None)
    return {
        "events": totals.events,
        "predictions": totals.predictions.total(),
        "abstentions": totals.predictions[None],
        "novel": totals.novel,
        "labelled": prequential.count,
        "dead_letters": totals.dead_letters.total(),
        "events_per_second": events_per_second,
        "labels_per_second": labels_per_second,
        "lag": lag,
        "window": service.root.metrics.window,
        "accuracy": _known(prequential.accuracy),
        "total_accuracy": _known(prequential.total_accuracy),
        "kappa": _known(prequential.figures().get("kappa", math.nan)),
        "loss": _known(prequential.loss),
        "calibration_error": _known(prequential.calibration_error),
        "coverage": _known(prequential.coverage),
        "answered_accuracy": _known(prequential.answered_accuracy),
        "forgetting": _known(probes.forgetting),
        "backward_transfer": _known(probes.backward_transfer),
        "forward_transfer": _known(probes.forward_transfer),
        "negative_flip_ratio": _known(probes.negative_flip_ratio),
        "probes": sum(probes.counts().values()),
        "known_labels": len(service.learner.task.groups),
        "memory_samples": len(service.learner.memory),
        "memory_capacity": service.learner.memory.capacity,
        "waiting_samples": len(service.learner.waiting),
        "pending_events": len(service.intake.joiner.pending),
        "early_labels": len(service.intake.joiner.early),
        "expired_events": totals.expired.total(),
        "duplicate_events": totals.duplicates,
        "forget_requests": totals.forgets,
        "label_delay_seconds": _known(totals.delay.sum / delays) if (delays := sum(totals.delay.counts)) else None,
        "samples_learned": totals.samples_new,
        "samples_rehearsed": totals.samples_replayed,
    }


def _labels(service: "Service") -> list[dict[str, Any]]:
    memory, predictions = service.learner.memory.counts(), service.totals.predictions.copy()
    accuracy, forgetting = service.measures.probes.accuracy(), service.measures.probes.class_forgetting()
    return [
        {
            "label": label,
            "memory": memory.get(number, 0),
            "probe_accuracy": _known(accuracy.get(label)),
            "forgetting": _known(forgetting.get(label)),
            "predictions": predictions.get(label, 0),
        }
        for number, label in enumerate(service.learner.task.groups[: service.root.metrics.max_labels])
    ]


def _drift(service: "Service") -> list[dict[str, Any]]:
    if service.measures.monitor is None:
        return []
    totals = service.measures.monitor.totals()
    return [
        {
            "detector": each.detector,
            "signal": each.signal,
            "statistic": _known(each.statistic),
            "threshold": _known(each.threshold),
            "ratio": _ratio(each.statistic, each.threshold),
            "detections": totals.get((each.detector, each.signal), 0),
        }
        for each in service.measures.monitor.readings()
    ]


def _outcome(label: Target | None, prediction: Prediction) -> str:
    if prediction.abstained:
        return "abstained"
    if label is None:
        return "unlabelled"
    return "right" if label == prediction.label else "wrong"


def _known(value: float | None) -> float | None:
    """Return the value to five digits, which is more than a page shows; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _ratio(statistic: float, threshold: float) -> float | None:
    """What is below 0, a change that is not called drift, reads 0; what is not known stays so."""
    ratio = _known(statistic / threshold) if threshold else None
    return None if ratio is None else max(0.0, ratio)


def _rate(count: int, seconds: float) -> float | None:
    return float(f"{count / seconds:.4g}") if seconds > 0 else None
