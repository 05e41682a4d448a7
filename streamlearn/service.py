"""The service: one loop that predicts every event and then learns from it."""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from streamlearn.batch import Sample
from streamlearn.config import Root
from streamlearn.dead_letters import DeadLetter, crashed, encode_dead_letter
from streamlearn.drift import Detection
from streamlearn.errors import StreamlearnError
from streamlearn.events import Event, EventDecoder, Place, Prediction, encode_predictions
from streamlearn.learner import Learner, Update
from streamlearn.measures import Measures
from streamlearn.predictor import Answer, Predictor, joined
from streamlearn.probes import Result
from streamlearn.stages import Stages
from streamlearn.totals import Totals
from streamlearn.transport.base import Outlet, Source, canonical

log = logging.getLogger(__name__)

_prediction = partial(tuple.__new__, Prediction)  # skips NamedTuple's own constructor, which goes through Python

POLL_SECONDS = 0.2  # how long a stop signal may go unnoticed while nothing comes
ENOUGH_TOKENS = 200  # below, a share says little
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
CRASHES_IN_A_ROW = 10  # so many events that the model cannot take, and none that it can: the model is broken, not they


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the loop did: the demo and the tests look at it."""

    events: Sequence[Event] = ()
    predictions: Sequence[Prediction] = ()
    dead_letters: Sequence[DeadLetter] = ()
    updates: Sequence[Update] = ()
    detections: Sequence[Detection] = ()
    probes: Sequence[Result] = ()


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
        measures: prequential figures, probes and drift.
        stages: takes the time of each part.
        clock: the time, in seconds since 1970; all that is learned sees only the `now` of its turn.
        stop: when set, `run` ends after the turn.
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
        measures: Measures,
        stages: Stages,
        clock: Callable[[], float] = time.time,
        stop: threading.Event | None = None,
    ) -> None:
        self.root, self.source, self.outlet, self.decoder = root, source, outlet, decoder
        self.predictor, self.learner, self.stages, self.clock = predictor, learner, stages, clock
        self.totals = Totals()
        self.measures = measures
        self.prequential, self.probes, self.monitor = measures.prequential, measures.probes, measures.monitor
        self.stop = stop or threading.Event()
        self.ready = False
        self.turned_at = time.monotonic()
        self.started_at = time.monotonic()
        self._waiting_since: float | None = None
        self._crashes = 0
        self._warned: set[str] = set()
        self._dead_letter_bytes = outlet.max_bytes(root.kafka.topics.dead_letters)

    def run(self, limits: Limits, on_turn: Callable[[Turn], None] = lambda _: None) -> None:
        """Turn until `stop` is set or a limit is reached. A turn is never cut short, so stopping loses nothing."""
        gc.collect()
        gc.freeze()  # a million objects of torch and transformers stay for good: the collector need not visit them
        self.ready = True
        try:
            self._run(limits, on_turn)
            if not self.stop.is_set():  # the end of the stream, not of the process: nothing will fill the last batch
                on_turn(Turn(updates=self.flush()))
        finally:
            self.ready = False
            gc.unfreeze()

    def _run(self, limits: Limits, on_turn: Callable[[Turn], None]) -> None:
        idle_since = time.monotonic()
        while not self.stop.is_set():
            left = None if limits.max_events is None else limits.max_events - self.totals.events
            if left == 0:
                return
            turn = self.turn(left)
            on_turn(turn)
            if turn.events or turn.dead_letters:
                idle_since = time.monotonic()
            elif limits.until_idle is not None and time.monotonic() - idle_since >= limits.until_idle:
                if self.source.at_end():
                    return
                idle_since = time.monotonic()

    def turn(self, most: int | None = None) -> Turn:
        """Take one micro-batch through the whole line.

        1. Poll, and sort into canonical order.
        2. Decode: events or dead letters.
        3. Predict with the served weights, before any label of the batch is used.
        4. Publish and commit.
        5. Compare what was served with the labels; watch for drift.
        6. Learn, all but the probes.
        7. Ask the probes what is still known.
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
        events, answer, failures = self._predict(decoded.events)  # 3
        by_place = {Place(*record[:3]): record for record in records} if failures else {}
        dead_letters = [*decoded.dead_letters, *(crashed(by_place[place], error) for place, error in failures.items())]
        with self.stages("encode"):
            predictions = self._predictions(events, answer)
            messages = encode_predictions(predictions, now)
            refused = [encode_dead_letter(dead, self._dead_letter_bytes) for dead in dead_letters]
        with self.stages("commit"):  # 4
            self.outlet.begin()
            self.outlet.send(topics.predictions, messages)
            self.outlet.send(topics.dead_letters, refused)
            self._commit()
        self._count(events, predictions, dead_letters, seconds=self.stages.clock() - polled)
        self._warn(events, answer)
        seen = self.measures.take(events, predictions, answer)  # 5
        if seen.probes:
            self.totals.labels["probe"] += seen.probes
        updates = self._learn(seen.samples, now)  # 6
        probes = self.measures.probe(len(seen.samples) + seen.probes)  # 7
        return Turn(events, predictions, dead_letters, updates, self.measures.detections, probes)

    @property
    def champion_step(self) -> int:
        """The step of the served weights: the learner's own, until a guard stands between the two."""
        return self.learner.step

    def summary(self) -> dict[str, Any]:
        """Return the fields of `--json`: lifetime totals, and the same under `this_run`."""
        totals, accuracy, forgetting = self.totals, self.prequential.total_accuracy, self.probes.forgetting
        fields = {
            "events": totals.events,
            "predictions": totals.predictions.total(),
            "labels": dict(totals.labels),
            "dead_letters": dict(totals.dead_letters),
            "learner_step": self.learner.step,
            "champion_step": self.champion_step,
            "samples_learned": {"new": totals.samples_new, "replay": totals.samples_replayed},
            "known_labels": len(self.learner.task.labels),
            "prequential_accuracy": None if math.isnan(accuracy) else accuracy,
            "forgetting": None if math.isnan(forgetting) else forgetting,
            "weights_sha256": self.learner.model.sha256(),
            "seconds": time.monotonic() - self.started_at,
            "stage_seconds": self.stages.seconds(),
            "device": str(self.learner.model.device),
        }
        # The weights do not outlive the process yet, so a lifetime is a run.
        return {**fields, "this_run": fields}

    def _predict(self, events: list[Event]) -> tuple[list[Event], Answer, dict[Place, Exception]]:
        """Answer the events; one that the model cannot take is set apart with its error, and the others go on.

        Raises:
            StreamlearnError: the model took none of the last `CRASHES_IN_A_ROW` events.
        """
        if not events:
            return events, joined([]), {}
        try:
            answer = self.predictor.predict([event.text for event in events])
        except Exception as error:  # noqa: BLE001 - whatever a model throws, the stream goes on
            log.warning("the model failed on a batch (%s); taking its events one by one", type(error).__name__)
        else:
            self._crashes = 0
            return events, answer, {}
        taken: list[Event] = []
        answers: list[Answer] = []
        failures: dict[Place, Exception] = {}
        for event in events:
            try:
                answers.append(self.predictor.predict([event.text]))
            except Exception as error:
                failures[event.source] = error
                self._crashes += 1
                if self._crashes >= CRASHES_IN_A_ROW:
                    raise StreamlearnError(
                        f"the model failed on {self._crashes} events in a row: {type(error).__name__}: {error}",
                        where=self.root.model.name,
                        mend="nothing of this batch was committed; mend the model or its device and start again",
                    ) from error
            else:
                self._crashes = 0
                taken.append(event)
        return taken, joined(answers), failures

    def _predictions(self, events: Sequence[Event], answer: Answer) -> list[Prediction]:
        step, champion = self.learner.step, self.champion_step
        if answer.scores is None:
            return [
                Prediction(event.id, None, None, (), True, "no-known-label", step, champion, event.source)
                for event in events
            ]
        names = np.array(self.learner.task.labels.names, dtype=object)
        top = names[answer.scores.top].tolist()
        scores = np.round(answer.scores.top_scores.astype(np.float64), 6).tolist()
        return [
            _prediction(
                (event.id, labels[0], values[0], list(zip(labels, values)), False, None, step, champion, event.source)  # noqa: B905 - a keyword costs more than the zip
            )
            for event, labels, values in zip(events, top, scores, strict=True)
        ]

    def _commit(self) -> None:
        try:
            self.outlet.commit(self.source.positions())
        except StreamlearnError:
            self.totals.commits["failed"] += 1
            raise
        self.totals.commits["committed"] += 1

    def _warn(self, events: Sequence[Event], answer: Answer) -> None:
        """Say once what makes a stream less useful than its owner may think."""
        totals = self.totals
        totals.tokens += sum(map(len, answer.tokens))
        totals.unknown_tokens += int(answer.unknown.sum())
        if "ids" not in self._warned and any(not event.has_own_id for event in events):
            self._warned.add("ids")
            log.warning(
                "events without an id are named topic:partition:offset; late labels, removal of duplicates and "
                "forgetting need ids of your own: set fields.id"
            )
        ratio = totals.unknown_tokens / totals.tokens if totals.tokens else 0.0
        if "tokens" not in self._warned and totals.tokens >= ENOUGH_TOKENS and ratio > self.root.limits.unknown_tokens:
            self._warned.add("tokens")
            log.warning(
                "%.0f %% of the tokens are unknown to the tokenizer of %s, so it reads little of this text; for text "
                "that is not English take a model that knows its language, such as model.name: %s",
                100 * ratio,
                self.root.model.name,
                MULTILINGUAL,
            )

    def _learn(self, samples: Sequence[Sample], now: float) -> list[Update]:
        updates: list[Update] = []
        size = self.root.learner.batch_size
        for start in range(0, len(samples), size):  # an update at a time, so that /healthz sees each of them
            updates += self._learned(self.learner.add(samples[start : start + size]))
        if given_up := self.learner.give_up():
            self.totals.labels["held_back"] += given_up
        if not self.learner.waiting:
            self._waiting_since = None
        elif updates or self._waiting_since is None:
            self._waiting_since = now
        return [*updates, *self._overdue(now)]

    def flush(self) -> list[Update]:
        """Learn the partial batch that waits: the stream is at its end."""
        self._waiting_since = None
        return self._learned(self.learner.flush())

    def _overdue(self, now: float) -> list[Update]:
        """Learn a partial batch that has waited for `learner.max_wait_seconds`."""
        since = self._waiting_since
        if since is None or now - since < self.root.learner.max_wait_seconds:
            return []
        return self.flush()

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return all that it takes to go on after the last turn, in parts: what was learned, measured and counted.

        Tensors of the model are the live ones: write them before the next turn.
        """
        return {
            **self.learner.state_dict(),
            "measures": self.measures.state_dict(),
            "service": {
                "totals": self.totals.state_dict(),
                "decoder": self.decoder.state_dict(),
                "waiting_since": self._waiting_since,
            },
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a service of the same configuration returned.

        Raises:
            ConfigError: it does not fit.
        """
        own = state["service"]
        self.learner.load_state_dict(state)
        self.measures.load_state_dict(state["measures"])
        self.totals.load_state_dict(own["totals"])
        self.decoder.load_state_dict(own["decoder"])
        self._waiting_since = own["waiting_since"]

    def _learned(self, updates: list[Update]) -> list[Update]:
        totals = self.totals
        for update in updates:
            self.turned_at = time.monotonic()
            totals.labels["learned" if update.steps else "discarded"] += update.samples
            totals.samples_new += update.samples * update.steps
            totals.samples_replayed += update.replayed
            totals.steps_skipped += update.skipped
            if update.skipped:
                log.warning(
                    "loss or gradient was not finite: %d of %d steps skipped so far; if it goes on, lower "
                    "learner.learning_rate and learner.head_learning_rate",
                    totals.steps_skipped,
                    totals.steps_skipped + self.learner.step,
                )
        return updates

    def _count(
        self, events: Sequence[Event], predictions: Sequence[Prediction], dead: Sequence[DeadLetter], *, seconds: float
    ) -> None:
        totals = self.totals
        totals.events += len(events) + len(dead)
        totals.predictions.update(prediction.label for prediction in predictions)
        totals.dead_letters.update(letter.reason for letter in dead)
        totals.latency.observe(seconds, len(events))
        if events:
            times = np.array([event.time for event in events])
            totals.age.observe_all(np.maximum(self.clock() - times[times > 0], 0.0))  # a log may know no time
