"""What the status page tells of the past: a bounded series of points, and the latest predictions."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamlearn.core.target import Answer
from streamlearn.stream.events import Event, Prediction

SAMPLE_SECONDS = 1.0
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
                rate(b.events - a.events, b.time - a.time) for a, b in zip(before, points, strict=False)
            ],
            "labels_per_second": [
                rate(b.labels - a.labels, b.time - a.time) for a, b in zip(before, points, strict=False)
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
        self._rows: deque[tuple[Event, Prediction, float | None, float]] = deque(maxlen=size)

    def add(
        self, events: Sequence[Event], predictions: Sequence[Prediction], answer: Answer | None, now: float
    ) -> None:
        """Take in the last rows of a turn; `answer` is what its predictions were made of, and knows how wrong it is."""
        last = range(max(0, len(events) - self.size), len(events))
        labels = {row: label for row in last if (label := events[row].label) is not None}
        errors: dict[int, float] = {}
        if answer is not None and labels:
            errors = dict(zip(labels, answer.judged(list(labels), list(labels.values())).errors, strict=True))
        self._rows.extend((events[row], predictions[row], errors.get(row), now) for row in last)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, the latest last; long texts are cut."""
        return [
            {
                "time": now,
                "text": event.text if len(event.text) <= TEXT else event.text[:TEXT] + "…",
                "label": event.label,
                "predicted": prediction.label,
                "score": prediction.score,
                "outcome": _outcome(error, prediction),
                "error": error,
            }
            for event, prediction, error, now in self._rows.copy()
        ]


def _outcome(error: float | None, prediction: Prediction) -> str:
    if prediction.abstained:
        return "abstained"
    if error is None:
        return "unlabelled"
    return "partly_right" if 0 < error < 1 else "wrong" if error else "right"


def rate(count: int, seconds: float) -> float | None:
    """Return how many came a second, to four digits; None where no time passed."""
    return float(f"{count / seconds:.4g}") if seconds > 0 else None
