"""The service: one loop that predicts every event and then learns from it."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamlearn.batch import IntArray, Sample
from streamlearn.config import Root
from streamlearn.errors import StreamlearnError
from streamlearn.evaluation import Prequential
from streamlearn.events import DeadLetter, Event, EventDecoder, Prediction, crashed, encode_dead_letter, encode_predictions
from streamlearn.learner import Learner, Update
from streamlearn.predictor import Answer, Predictor
from streamlearn.stages import Stages
from streamlearn.totals import Totals
from streamlearn.transport.base import Outlet, Source, canonical

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # how long a stop signal may go unnoticed while nothing comes
CRASHES_IN_A_ROW = 10  # so many events that the model cannot take, and none that it can: the model is broken, not they


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the loop did: the demo and the tests look at it."""

    events: Sequence[Event] = ()
    predictions: Sequence[Prediction] = ()
    dead_letters: Sequence[DeadLetter] = ()
    updates: Sequence[Update] = ()


@dataclass
class Limits:
    """When `run` ends by itself: after so many events, or once nothing came for so many seconds at the log's end."""

    max_events: int | None = None
    until_idle: float | None = None


class Service:
    """Predicts every event as it arrives, publishes, and learns from its label.

    Args:
        root: the configuration.
        source: where events come from.
        outlet: where predictions and dead letters go, with the positions of the source.
        decoder: turns records into events or dead letters.
        predictor: the served weights.
        learner: learns; now it shares its weights with the predictor.
        stages: takes the time of each part.
        clock: the time, in seconds since 1970. It is read once a turn; all that is learned sees only that `now`.
    """

    def __init__(
        self,
        root: Root,
        *,
        source: Source,
        outlet: Outlet,
        decoder: EventDecoder,
        predictor: Predictor,
        learner: Learner,
        stages: Stages,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root, self.source, self.outlet, self.decoder = root, source, outlet, decoder
        self.predictor, self.learner, self.stages, self.clock = predictor, learner, stages, clock
        self.totals = Totals()
        self.prequential = Prequential(root.metrics.window)
        self.stop = threading.Event()
        self.ready = False
        self.turned_at = time.monotonic()
        self.started_at = time.monotonic()
        self._waiting_since: float | None = None
        self._crashes = 0
        self._warned: set[str] = set()
        self._dead_letter_bytes = outlet.max_bytes(root.kafka.topics.dead_letters)

    def run(self, limits: Limits, on_turn: Callable[[Turn], None] = lambda _: None) -> None:
        """Turn until `stop` is set or a limit is reached. A turn is never cut short, so stopping loses nothing."""
        idle_since = time.monotonic()
        self.ready = True
        while not self.stop.is_set():
            left = None if limits.max_events is None else limits.max_events - self.totals.events
            if left == 0:
                break
            turn = self.turn(left)
            on_turn(turn)
            if turn.events or turn.dead_letters:
                idle_since = time.monotonic()
            elif limits.until_idle is not None and time.monotonic() - idle_since >= limits.until_idle:
                if self.source.at_end():
                    break
                idle_since = time.monotonic()
        if not self.stop.is_set():  # the end of the stream, not of the process: nothing will fill the last batch
            on_turn(Turn(updates=self._learned(self.learner.flush())))
        self.ready = False

    def turn(self, most: int | None = None) -> Turn:
        """Take one micro-batch through the whole line.

        1. Poll, and sort into canonical order.
        2. Decode: events or dead letters.
        3. Predict with the served weights, before any label of the batch is used.
        4. Publish and commit.
        5. Compare what was served with the labels.
        6. Learn.
        """
        topics = self.root.kafka.topics
        batch = self.root.serving.max_batch if most is None else min(most, self.root.serving.max_batch)
        start = self.stages.clock()
        records = canonical(self.source.poll(batch, POLL_SECONDS), [topics.events])  # 1
        polled = self.stages.clock()
        self.stages.add("poll" if len(records) == batch else "wait", polled - start)
        self.turned_at, now = time.monotonic(), self.clock()
        if not records:
            return Turn(updates=self._overdue(now))
        with self.stages("decode"):  # 2
            decoded = self.decoder.decode(records)
        answer, crashes = self._predict(decoded.events)  # 3
        events = decoded.events if not crashes else [e for e in decoded.events if e.source not in crashes]
        dead_letters = [*decoded.dead_letters, *(crashed(records, source, why) for source, why in crashes.items())]
        with self.stages("encode"):
            predictions = self._predictions(events, answer)
            messages = encode_predictions(predictions, now)
            refused = [encode_dead_letter(dead, self._dead_letter_bytes) for dead in dead_letters]
        with self.stages("commit"):  # 4
            self.outlet.begin()
            self.outlet.send(topics.predictions, messages)
            self.outlet.send(topics.dead_letters, refused)
            self.outlet.commit(self.source.positions())
        self._count(events, predictions, dead_letters, seconds=self.stages.clock() - polled)
        with self.stages("evaluate"):  # 5
            samples = self._compare(events, predictions, answer)
        updates = self._learn(samples, now)  # 6
        return Turn(events, predictions, dead_letters, updates)
