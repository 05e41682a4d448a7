"""What the status page shows: the service as it is now, and a bounded history of what it did.

`state` gives what `/api/state` serves. Fractions are 0 to 1, times are seconds since 1970, and None stands for what has
no value yet. Event ids are never in it; texts and their labels only where `web.show_payloads` is true.

    name, version, time, uptime_seconds
    status         starting, recovering, warming up, live, stalled (no turn for `limits.progress_seconds`) or stopping
    progress       while the past or the warm start is learned, how far that is, in the words of /readyz; else {}
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
    recent         [{time, text, label, predicted, score, outcome, error}], the latest last, None where payloads are
                   not shown; outcome: right, wrong, partly_right (an error between 0 and 1), unlabelled or abstained
"""

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamlearn import __version__
from streamlearn.core.other import apart
from streamlearn.observability.catalogue import CATALOGUE, SHOWN
from streamlearn.observability.figures import Entry, Figure, drift, own_labels
from streamlearn.observability.history import SAMPLE_SECONDS, History, Point, Recent, rate

if TYPE_CHECKING:
    from streamlearn.service.loop import Service
    from streamlearn.service.turn import Turn

RATE_SAMPLES = 10  # what "events a second" looks back on
DETECTIONS = 100

PAGE: Mapping[str, Entry | Figure] = {each.page: each for each in SHOWN if each.page is not None}
ROW: Mapping[str, Entry] = {each.row: each for each in CATALOGUE if each.row is not None}
METRIC: Mapping[str, Entry] = {each.name: each for each in CATALOGUE}


class Dashboard:
    """Looks at every turn of the loop, and remembers what the page shows beyond the present.

    `observe` is for the loop, everything else may be read from any thread.

    Args:
        service: what is looked at; its clock gives the times.
        points: how many points the history has at most.
    """

    def __init__(self, service: "Service", points: int = 600) -> None:
        self.service, self._clock, self._points = service, service.clock, points
        self.detections: deque[dict[str, Any]] = deque(maxlen=DETECTIONS)
        self.recent = Recent() if service.root.web.show_payloads else None
        self.begin()

    def begin(self) -> None:
        """Begin the history here: what was counted before, by an earlier process or a warm start, has no rate."""
        start = sample(self.service, self._clock())
        self.history = History(start, points=self._points)
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
            self.recent.add(turn.events, turn.predictions, turn.answer, now)
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
        return rate(last.events - first.events, seconds), rate(last.labels - first.labels, seconds)


def sample(service: "Service", now: float) -> Point:
    """Return the service as a point of the history."""
    ratios = {signal: _ratio(*read) for signal, read in drift(service).items()}
    return Point(
        time=round(now, 1),
        events=_count("events", service),
        labels=_count("labelled", service),
        dead_letters=_count("dead_letters", service),
        accuracy=_figure("accuracy", service),
        kappa=_figure("kappa", service),
        forgetting=_figure("forgetting", service),
        lag=_count("lag", service),
        known_labels=_count("known_labels", service),
        learner_step=service.learner.step,
        drift={signal: ratio for signal, ratio in ratios.items() if ratio is not None},
    )


def state(service: "Service", dashboard: Dashboard | None = None) -> dict[str, Any]:
    """Return all that the page shows, in JSON values; see the head of this module."""
    root, learner = service.root, service.learner
    topics = root.kafka.topics
    events_per_second, labels_per_second = dashboard.rates() if dashboard else (None, None)
    lag = service.source.lag()
    return {
        "name": root.name,
        "version": __version__,
        "time": service.clock(),
        "uptime_seconds": round(time.monotonic() - service.lifecycle.started_at, 1),
        "status": status(service),
        "progress": progress(service),
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
        "now": {
            **{name: _figure(name, service) for name in PAGE},
            "events_per_second": events_per_second,
            "labels_per_second": labels_per_second,
        },
        "labels": _labels(service),
        "outcomes": _by_value("labels", service),
        "dead_letters": _by_value("dead_letters", service),
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


def progress(service: "Service") -> dict[str, int]:
    """Return how much of the past is learned again, or of the warm start is learned; nothing at any other time."""
    again, warming = service.lifecycle.progress, service.lifecycle.warming
    return {
        **({"batches_applied_again": again.done, "batches_in_all": again.total} if again else {}),
        **({"warm_start_rows_learned": warming.done, "warm_start_rows": warming.total} if warming else {}),
    }


def _figure(name: str, service: "Service") -> float | None:
    reading = PAGE[name].read(service)
    return _known(sum(reading.values()) if isinstance(reading, Mapping) else reading)


def _count(name: str, service: "Service") -> int:
    return int(_figure(name, service) or 0)


def _by_value(name: str, service: "Service") -> dict[Any, float]:
    """Return a metric by the values of its labels."""
    reading = METRIC[name].read(service)
    assert isinstance(reading, Mapping)
    return dict(reading)


def _labels(service: "Service") -> list[dict[str, Any]]:
    columns = {name: _by_value(entry.name, service) for name, entry in ROW.items()}
    missing = {name: 0 if entry.kind == "counter" else None for name, entry in ROW.items()}
    return [
        {"label": label, **{name: _known(column.get(apart(label), missing[name])) for name, column in columns.items()}}
        for label in own_labels(service)
    ]


def _drift(service: "Service") -> list[dict[str, Any]]:
    called = _by_value("drift_detections", service)
    return [
        {
            "detector": detector,
            "signal": signal,
            "statistic": _known(statistic),
            "threshold": _known(threshold),
            "ratio": _ratio(statistic, threshold),
            "detections": called.get((detector, signal), 0),
        }
        for (detector, signal), (statistic, threshold) in drift(service).items()
    ]


def _known(value: float | None) -> float | None:
    """Return the value to five digits, which is more than a page shows, a whole number as it is; None for none."""
    if isinstance(value, int):
        return value
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _ratio(statistic: float, threshold: float) -> float | None:
    """What is below 0, a change that is not called drift, reads 0; what is not known stays so."""
    ratio = _known(statistic / threshold) if threshold else None
    return None if ratio is None else max(0.0, ratio)
