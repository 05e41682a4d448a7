"""The service: one loop that predicts every event and then learns from it.

The order within a batch is what makes learning exact: predict, commit, learn, save. See "Journalled learning" in
ARCHITECTURE.md.
"""

import gc
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np

from streamlearn.config.tree import Root
from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.timing import Stages
from streamlearn.durability import failpoints, journal
from streamlearn.durability.publisher import Publisher
from streamlearn.evaluation.drift.monitor import Detection
from streamlearn.evaluation.probes import Result
from streamlearn.learning.learner import Learner, Update
from streamlearn.service.corrections import correct
from streamlearn.service.erasure import erase
from streamlearn.service.intake import Intake, Prepared
from streamlearn.service.measures import Measures, ProbeSplit
from streamlearn.service.totals import Totals
from streamlearn.serving.crash_isolation import CrashIsolation
from streamlearn.serving.label_requests import LabelRequests
from streamlearn.serving.predictions import predictions
from streamlearn.serving.predictor import Predictor, Reply
from streamlearn.stream.dead_letters import DeadLetter, encode_dead_letter
from streamlearn.stream.dead_letters import crashed as dead
from streamlearn.stream.events import Event, Prediction, encode_predictions
from streamlearn.stream.time_ordered import TimeOrdered
from streamlearn.stream.transport import Place, Range, Record, TopicPartition, canonical, ranges

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # how long a stop signal may go unnoticed while nothing comes
ENOUGH_TOKENS = 200  # below, a share says little
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
GARBAGE = 50_000  # objects made, and not yet gone, at which the collector looks: a batch's go without it


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn of the loop did: the demo and the tests look at it. `records` counts what was taken, `events` are
    those that were answered."""

    records: int = 0
    events: Sequence[Event] = ()
    predictions: Sequence[Prediction] = ()
    dead_letters: Sequence[DeadLetter] = ()
    updates: Sequence[Update] = ()
    detections: Sequence[Detection] = ()
    probes: Sequence[Result] = ()


class Progress(NamedTuple):
    """How much of the past was applied again: batches, and those that the journal has in all."""

    done: int
    total: int


class Warmed(NamedTuple):
    """How much of the warm start was learned: the file by its digest, the next row, and how many it has."""

    sha256: str
    next: int
    rows: int


class Keeper(Protocol):
    """Writes the state down from time to time."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Snapshots by what became of them."""
        ...

    def keep(self, service: "Service", now: float) -> None:
        """Write a snapshot if it is time; what fails is told and tried again later."""
        ...

    def save(self, service: "Service", now: float) -> bool:
        """Write a snapshot now; return whether the last one is up to date."""
        ...

    def horizon(self, service: "Service", now: float) -> float:
        """Return the seconds until a record that a restart needs may be deleted; infinite where none is."""
        ...


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
        publisher: where predictions and dead letters go, with the journal and the positions of the source.
        intake: turns records into events, labels and dead letters, and joins them.
        predictor: the served weights.
        learner: learns; what is served of it the predictor knows.
        measures: prequential figures, probes and drift.
        stages: takes the time of each part.
        clock: the time, in seconds since 1970; all that is learned sees only the `now` of its turn.
        stop: when set, `run` ends after the turn.
    """

    def __init__(
        self,
        root: Root,
        *,
        source: TimeOrdered,
        publisher: Publisher,
        intake: Intake,
        predictor: Predictor,
        learner: Learner,
        measures: Measures,
        stages: Stages,
        clock: Callable[[], float] = time.time,
        stop: threading.Event | None = None,
    ) -> None:
        self.root, self.source, self.publisher, self.intake = root, source, publisher, intake
        self.joiner = intake.joiner
        self.predictor, self.learner, self.stages, self.clock = predictor, learner, stages, clock
        self.totals = Totals()
        self.measures = measures
        self.requests = LabelRequests(root.label_requests, seed=root.seed, probes=root.probes.share)
        self.prequential, self.probes, self.monitor = measures.prequential, measures.probes, measures.monitor
        self.stop = stop or threading.Event()
        self.ready = False
        self.turned_at = time.monotonic()
        self.started_at = time.monotonic()
        self.positions = source.positions()  # the next offset of each partition that is not in a committed batch
        self.progress: Progress | None = None  # while the past is applied again
        self.warmed: Warmed | None = None  # None: it began without a warm start, or did not begin yet
        self.warming: Progress | None = None  # rows, while that is done
        self.disagreements = 0  # batches that came out otherwise when they were applied again
        self.suspect: Place | None = None  # the record that killed the process
        self.alone = 0  # so many polls are still taken one record at a time, to find the one that kills
        self._held: deque[Record] = deque()  # what such a poll brought, and was not taken yet
        self.keeper: Keeper | None = None
        self.needed: dict[TopicPartition, int] = {}  # the time (ms) of the first record that no snapshot holds
        self.purging = False  # an id was forgotten that older snapshots may hold
        self._began = self._counts()
        self._waiting_since: float | None = None
        self._answer = CrashIsolation(root.model.name)
        self._warned: set[str] = set()
        self._dead_letter_bytes = publisher.outlet.max_bytes(root.kafka.topics.dead_letters)

    def run(self, limits: Limits, on_turn: Callable[[Turn], None] = lambda _: None) -> None:
        """Turn until `stop` is set or a limit is reached. A turn is never cut short, so stopping loses nothing."""
        self.ready = True
        try:
            with _spared():
                self._run(limits, on_turn)
                if not self.stop.is_set():  # the stream's end, not the process's: nothing will fill the last batch
                    on_turn(Turn(updates=self.flush()))
        finally:
            self.ready = False

    def _run(self, limits: Limits, on_turn: Callable[[Turn], None]) -> None:
        idle_since = time.monotonic()
        began = self.totals.events
        while not self.stop.is_set():
            left = None if limits.max_events is None else limits.max_events - (self.totals.events - began)
            if left == 0:
                return
            turn = self.turn(left)
            on_turn(turn)
            if turn.records:
                idle_since = time.monotonic()
            elif limits.until_idle is not None and time.monotonic() - idle_since >= limits.until_idle:
                if self.source.at_end():
                    return
                idle_since = time.monotonic()

    def turn(self, most: int | None = None) -> Turn:
        """Take one micro-batch through the whole line.

        1. Poll, and sort into canonical order.
        2. Decode, predict with the served weights, join the labels, and choose the probes: no label of the batch is
           used before.
        3. Publish and commit, with the record of the batch in the journal; meanwhile what comes next is read.
        4. Only now: measure, learn, ask the probes.
        5. Write a snapshot, if it is time.
        """
        size = self.root.serving.max_batch if most is None else min(most, self.root.serving.max_batch)
        start = self.stages.clock()
        records = self._poll(size)  # 1
        polled = self.stages.clock()
        self.stages.add("poll" if len(records) == size else "wait", polled - start)
        self.turned_at, now = time.monotonic(), self.clock()
        if records:
            failpoints.reach("taken")
            batch = self._prepare(records, now, self._given_up(records[0], now))  # 2
            failpoints.reach("predicted")
            self._publish(batch, now)  # 3
            self._time(batch, self.stages.clock() - polled)
            turn = self._absorb(batch, now)  # 4
            failpoints.reach("learned")
        else:
            turn = Turn(updates=self.flush() if self._is_overdue(now) else ())
        if self.keeper is not None:
            self.keeper.keep(self, now)  # 5
        return turn

    def _poll(self, size: int) -> list[Record]:
        """Return what came, in canonical order; while one that kills is searched for, one record at a time."""
        if self._held:
            return [self._held.popleft()]
        records = canonical(self.source.poll(size, POLL_SECONDS), self.root.kafka.topics.inputs)
        if not self.alone:
            return records
        self._held.extend(records[1:])
        return records[:1]

    def reapply(self, record: journal.Batch, records: Sequence[Record], *, learn: bool = True) -> Turn:
        """Learn a batch of the journal again, as it was learned then; nothing is published.

        Without `learn` its labels are discarded, and those that waited for a full batch: one of them kills.
        """
        self.turned_at = time.monotonic()
        batch = self._prepare(records, record.now, record.crashed)
        if (batch.taken, self.learner.step) != (record.taken, record.model_step):
            self.disagreements += 1
            if self.disagreements == 1:
                log.warning(
                    "journal record %d comes out otherwise than it was written: step %d for %d; learning goes on from "
                    "the records as they are",
                    record.seq,
                    self.learner.step,
                    record.model_step,
                )
        self._move(record.ranges, records)
        if not learn:
            gone = self.learner.drop() + len(batch.seen.samples)
            self.totals.labels["discarded"] += gone
            batch = batch._replace(seen=batch.seen._replace(samples=[]))
            batch.join.corrections.clear()
        return self._absorb(batch, record.now, learn_unlabelled=learn)

    def _prepare(self, records: Sequence[Record], now: float, crashed: Collection[Place] | None = None) -> Prepared:
        """Decode, predict and join. `crashed` names the records that are not to be tried, the others come one by one
        then."""
        with self.stages("decode"):
            came = self.intake.decode(records, crashed)
        events, reply, failures = self._answer(self.predictor, came.new, crashed)
        by_place = {Place(*record[:3]): record for record in records} if failures else {}
        crashes = [dead(by_place[place], error) for place, error in (failures or {}).items()]
        said = self._predictions(events, reply)
        with self.stages("join"):
            join = self.intake.join(came, events, said, reply, now)
            # Before probes are chosen, since an id that was forgotten may come again. It counts though nothing is
            # committed yet, as the join does: where the commit fails the process ends.
            if join.forgotten and (waited := erase(join.forgotten, self.learner, self.measures)):
                join.outcomes["forgotten"] += waited
        return Prepared(
            came,
            events,
            said,
            reply,
            [*came.dead_letters, *crashes],
            join,
            self.measures.split_probes(join),
            None if failures is None else (*failures, *came.killers),
        )

    def _publish(self, batch: Prepared, now: float) -> None:
        topics, outgoing = self.root.kafka.topics, {}
        with self.stages("encode"):
            outgoing[topics.predictions] = encode_predictions(batch.predictions, now)
            outgoing[topics.dead_letters] = [
                encode_dead_letter(each, self._dead_letter_bytes) for each in batch.dead_letters
            ]
        with self.stages("commit"):
            at = self.source.positions()
            if self.alone:
                (one,) = batch.came.records
                own = TopicPartition(one.topic, one.partition)
                at = {**at, **self._first_held(), **self.positions, own: one.offset + 1}
            record = self.publisher.commit(partial(self._record, batch, now), outgoing, at)
        self._move(record.ranges, batch.came.records)
        if self.suspect is not None and any(record[:3] == self.suspect for record in batch.came.records):
            self.suspect = None
        if self.alone and not self._held:
            self.alone = max(self.alone - 1, self.suspect is not None)

    def _record(self, batch: Prepared, now: float) -> journal.Batch:
        """Return a batch's record, and read what comes next: its predictions are on their way, and not waited for."""
        self.source.look_ahead(self.root.serving.max_batch)
        return journal.Batch(
            **self.common(now),
            ranges=tuple(ranges(batch.came.records)),
            model_step=self.learner.step,
            champion_step=self.champion_step,
            taken=batch.taken,
            forgotten=tuple(journal.hashed(self.root.name, each) for each in batch.join.forgotten),
            crashed=batch.crashed,
        )

    def _absorb(self, batch: Prepared, now: float, *, learn_unlabelled: bool = True) -> Turn:
        """Measure and learn what was committed: the same whether it is done now or again."""
        quiet = self.progress is not None
        self._count(batch)
        self._warn(batch.events, batch.reply, quiet=quiet)
        self.purging |= self.root.snapshots.purge_on_forget and bool(batch.join.forgotten)
        correct(batch.join.corrections, self.learner, self.measures)
        self.measures.measure(batch.events, batch.predictions, batch.reply, batch.join, quiet=quiet)
        unlabelled: Sequence[tuple[int, Sample]] = ()
        if (
            learn_unlabelled and self.learner.strategy.learns_unlabelled
        ):  # what may become a probe is not learned, by its guess neither
            unlabelled = [each for each in batch.unlabelled if not self.probes.may_take(each[1].id)]
        updates = self._learn(batch.seen.samples, now, unlabelled)
        probes = self.measures.probe(len(batch.seen.samples) + batch.seen.probes)
        return Turn(
            len(batch.came.records),
            batch.events,
            batch.predictions,
            batch.dead_letters,
            updates,
            self.measures.detections,
            probes,
        )

    def warm(
        self, part: Warmed, events: Sequence[Event], seen: ProbeSplit, tokens: Sequence[IntArray], now: float
    ) -> Turn:
        """Learn a part of the warm start, of which nothing was served; with the last one what waits too."""
        self.warmed = part
        self.measures.learn_classes(events, tokens)
        if seen.probes:
            self.totals.labels["probe"] += seen.probes
        updates = self._learn(seen.samples, now)
        if part.next >= part.rows:
            updates = [*updates, *self._flushed()]
        return Turn(updates=updates, probes=self.measures.probe(len(seen.samples) + seen.probes))

    def _given_up(self, record: Record, now: float) -> Collection[Place] | None:
        """Name what is not to be tried. Where records are taken alone, the journal is told which one comes next."""
        if not self.alone:
            return None
        place = Place(*record[:3])
        if place == self.suspect:
            log.error("%s offset %d has killed the process time and again: it is a dead letter now", *_at(place))
            return [place]
        self.publisher.commit(journal.Attempt(**self.common(now), place=place))
        return None

    def _first_held(self) -> dict[TopicPartition, int]:
        """Return where the records stand that were polled and not taken: a partition may have appeared with them."""
        first: dict[TopicPartition, int] = {}
        for record in self._held:
            first.setdefault(TopicPartition(*record[:2]), record.offset)
        return first

    def _move(self, taken: Sequence[Range], records: Sequence[Record]) -> None:
        self.positions.update(_ends(taken))
        at = 0
        for each in taken:
            if at < len(records):  # of what was lost, fewer came
                self.needed.setdefault(TopicPartition(each.topic, each.partition), records[at].timestamp)
            at += each.count

    def begin(self) -> None:
        """Go live: what is done from now on is this run's, and nothing of the past is left to be applied again."""
        self._began, self.progress = self._counts(), None

    def common(self, now: float) -> dict[str, Any]:
        """Return what every journal record begins with."""
        return {**self.publisher.writer.common(now), "outcomes": dict(self.totals.labels)}

    @property
    def champion_step(self) -> int:
        """The step of the served weights."""
        return self.measures.served.champion.weights.step

    def summary(self) -> dict[str, Any]:
        """Return the fields of `--json`: lifetime totals, and the same under `this_run`."""
        accuracy, forgetting = self.prequential.total_accuracy, self.probes.forgetting
        counts = self._counts()
        others = {
            "known_labels": len(self.learner.task.groups),
            "pending_events": len(self.joiner.pending),
            "early_labels": len(self.joiner.early),
            "prequential_accuracy": None if math.isnan(accuracy) else accuracy,
            "forgetting": None if math.isnan(forgetting) else forgetting,
            "weights_sha256": self.learner.sha256(),
            "seconds": time.monotonic() - self.started_at,
            "stage_seconds": self.stages.seconds(),
            "device": str(self.learner.model.device),
        }
        return {**counts, **others, "this_run": {**_difference(counts, self._began), **others}}

    def _counts(self) -> dict[str, Any]:
        totals = self.totals
        return {
            "events": totals.events,
            "predictions": totals.predictions.total(),
            "labels": dict(totals.labels),
            "dead_letters": dict(totals.dead_letters),
            "forget_requests": totals.forgets,
            "learner_step": self.learner.step,
            "champion_step": self.champion_step,
            "samples_learned": {"new": totals.samples_new, "replay": totals.samples_replayed},
        }

    def _predictions(self, events: Sequence[Event], reply: Reply) -> list[Prediction]:
        serving = self.root.serving
        made = predictions(
            events,
            reply,
            self.learner.task,
            step=self.learner.step,
            champion=self.champion_step,
            abstain_below=serving.abstain_below,
            novel_share=serving.novel_share,
        )
        return self.requests.mark(events, reply, made)

    def _warn(self, events: Sequence[Event], reply: Reply, *, quiet: bool) -> None:
        """Say once what makes a stream less useful than its owner may think."""
        totals = self.totals
        totals.tokens += sum(map(len, reply.tokens))
        totals.unknown_tokens += int(reply.unknown.sum())
        if quiet:
            return
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

    def _learn(
        self, samples: Sequence[Sample], now: float, unlabelled: Sequence[tuple[int, Sample]] = ()
    ) -> list[Update]:
        """Learn what has a label, and between that what has none, each before the sample of that number."""
        updates, at = list[Update](), 0
        for before, events in groupby(unlabelled, key=itemgetter(0)):
            updates += self._add(samples[at:before])
            self.learner.add_unlabelled([event for _, event in events])
            at = before
        updates += self._add(samples[at:])
        if given_up := self.learner.give_up():
            self.totals.labels["held_back"] += given_up
        if not self.learner.waiting:
            self._waiting_since = None
        elif updates or self._waiting_since is None:
            self._waiting_since = now
        return [*updates, *self._flushed()] if self._is_overdue(now) else updates

    def _add(self, samples: Sequence[Sample]) -> list[Update]:
        updates: list[Update] = []
        size = self.root.learner.batch_size
        for start in range(0, len(samples), size):  # an update at a time, so that /healthz sees each of them
            updates += self._learned(self.learner.add(samples[start : start + size]))
        return updates

    def flush(self) -> list[Update]:
        """Learn the partial batch that waits, and write in the journal that it was done."""
        if not self.learner.waiting or self.learner.stopped:
            return []
        with self.stages("commit"):
            self.publisher.commit(journal.Flush(**self.common(self.clock())))
        return self._flushed()

    def reflush(self) -> list[Update]:
        """Learn again what a `journal.Flush` tells of."""
        return self._flushed()

    def _flushed(self) -> list[Update]:
        self._waiting_since = None
        return self._learned(self.learner.flush())

    def _is_overdue(self, now: float) -> bool:
        """Say whether a partial batch has waited for `learner.max_wait_seconds`."""
        since = self._waiting_since
        return since is not None and now - since >= self.root.learner.max_wait_seconds

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return all that it takes to go on after the last turn, in parts: what was learned, measured and counted.

        Tensors of the model are the live ones: write them before the next turn.
        """
        return {
            **self.learner.state_dict(),
            **self.measures.served.champion.state_dict(),
            "measures": self.measures.state_dict(),
            "joiner": self.joiner.state_dict(),
            "service": {
                "totals": self.totals.state_dict(),
                "decoder": self.intake.decoder.state_dict(),
                "requests": self.requests.state_dict(),
                "waiting_since": self._waiting_since,
                "purging": self.purging,
                "warmed": None if self.warmed is None else list(self.warmed),
                "positions": [[*tp, offset] for tp, offset in sorted(self.positions.items())],
            },
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a service of the same configuration returned.

        Raises:
            ConfigError: it does not fit.
        """
        own = state["service"]
        self.learner.load_state_dict(state)
        self.measures.served.champion.load_state_dict(state)
        self.measures.load_state_dict(state["measures"])
        self.totals.load_state_dict(own["totals"])
        self.intake.decoder.load_state_dict(own["decoder"])
        if "joiner" in state:  # else nothing waits, and no id is remembered
            self.joiner.load_state_dict(state["joiner"])
        if "requests" in own:
            self.requests.load_state_dict(own["requests"])
        self._waiting_since, self.purging = own["waiting_since"], own.get("purging", False)
        self.warmed = Warmed(*own["warmed"]) if own.get("warmed") else None
        self.positions.update({TopicPartition(topic, number): offset for topic, number, offset in own["positions"]})

    def _learned(self, updates: list[Update]) -> list[Update]:
        totals = self.totals
        for update in updates:
            self.turned_at = time.monotonic()
            totals.labels["learned" if update.steps else "discarded"] += update.samples
            totals.samples_new += update.samples * update.steps
            totals.samples_replayed += update.replayed
            totals.steps_skipped += update.skipped
            if update.skipped and self.progress is None:
                log.warning(
                    "loss or gradient was not finite: %d of %d steps skipped so far; if it goes on, lower "
                    "learner.learning_rate and learner.head_learning_rate",
                    totals.steps_skipped,
                    totals.steps_skipped + self.learner.step,
                )
        return updates

    def _count(self, batch: Prepared) -> None:
        totals, join = self.totals, batch.join
        totals.events += batch.came.of_events
        totals.duplicates += join.duplicates
        totals.forgets += len(join.forgotten)
        totals.labels.update(join.outcomes)
        totals.expired.update(join.expired)
        if batch.predictions:
            said = dict(zip(Prediction._fields, zip(*batch.predictions, strict=True), strict=True))
            answers = zip(said["abstained"], said["label"], strict=True)
            totals.predictions.update([None if abstained else label for abstained, label in answers])
            totals.novel += sum(said["novel"])
            totals.label_requests += sum(map(bool, said["label_requested"]))
        totals.dead_letters.update(letter.reason for letter in batch.dead_letters)
        if batch.seen.probes:
            totals.labels["probe"] += batch.seen.probes

    def _time(self, batch: Prepared, seconds: float) -> None:
        """Take what users wait for; it is of this process, since what is applied again makes nobody wait."""
        totals, events = self.totals, batch.events
        totals.latency.observe(seconds, len(events))
        if events:
            times = np.array([event.time for event in events])
            totals.age.observe_all(np.maximum(self.clock() - times[times > 0], 0.0))  # a log may know no time
        if batch.join.delays:
            totals.delay.observe_all(np.array(batch.join.delays))


@contextmanager
def _spared() -> Iterator[None]:
    """Keep the garbage collector away from what stays for good, and from what goes without it."""
    usual = gc.get_threshold()
    gc.freeze()  # half a million objects of torch and transformers
    gc.set_threshold(GARBAGE, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _ends(taken: Sequence[Range]) -> dict[TopicPartition, int]:
    return {TopicPartition(each.topic, each.partition): each.next for each in taken}


def _difference(counts: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Subtract the counts before, in nested mappings too; what did not happen in between is left out there."""
    result: dict[str, Any] = {}
    for key, value in counts.items():
        if isinstance(value, Mapping):
            inner = _difference(value, before.get(key, {}))
            result[key] = {name: count for name, count in inner.items() if count or name in {"new", "replay"}}
        else:
            result[key] = value - before.get(key, 0)
    return result


def _at(place: Place) -> tuple[TopicPartition, int]:
    return TopicPartition(place.topic, place.partition), place.offset
