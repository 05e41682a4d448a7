"""A turn of the loop, and how many there are to be."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamlearn.core.target import Answer
from streamlearn.evaluation.drift.monitor import Detection
from streamlearn.evaluation.probes import Result
from streamlearn.learning.learner import Update
from streamlearn.stream.dead_letters import DeadLetter
from streamlearn.stream.events import Event, Prediction


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the loop did: the demo and the tests look at it. `records` counts what was taken, `events` are
    those that were answered, and `answer` is what the model said of them, None before any label is known."""

    records: int = 0
    events: Sequence[Event] = ()
    predictions: Sequence[Prediction] = ()
    answer: Answer | None = None
    dead_letters: Sequence[DeadLetter] = ()
    updates: Sequence[Update] = ()
    detections: Sequence[Detection] = ()
    probes: Sequence[Result] = ()


@dataclass
class Limits:
    """When `run` ends by itself: after so many events, or once nothing came for so many seconds at the log's end."""

    max_events: int | None = None
    until_idle: float | None = None
