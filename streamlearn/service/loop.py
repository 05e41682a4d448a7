"""The service: one loop that predicts every event and then learns from it.

The order within a batch is what makes learning exact: predict, commit, learn, save. See "Journalled learning" in
ARCHITECTURE.md.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from streamlearn.config.tree import Root
from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.timing import Stages
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal import Writer
from streamlearn.durability.publisher import Publisher
from streamlearn.learning.learner import Learner, Update
from streamlearn.service.advice import Advice
from streamlearn.service.corrections import correct, erase
from streamlearn.service.intake import Intake, Prepared
from streamlearn.service.lifecycle import Lifecycle, Warmed
from streamlearn.service.measures import Measures, ProbeSplit
from streamlearn.service.patience import Patience
from streamlearn.service.poison import PoisonSearch
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from streamlearn.service.state import State
from streamlearn.service.totals import Totals
from streamlearn.service.turn import Limits, Turn
from streamlearn.serving.crash_isolation import CrashIsolation
from streamlearn.serving.label_requests import LabelRequests
from streamlearn.serving.predictions import predictions
from streamlearn.serving.predictor import Predictor, Reply
from streamlearn.stream.dead_letters import crashed as dead
from streamlearn.stream.dead_letters import encode_dead_letter
from streamlearn.stream.events import Event, Prediction, encode_predictions
from streamlearn.stream.time_ordered import TimeOrdered
from streamlearn.stream.transport import Place, Record, canonical, ranges

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # how long a stop signal may go unnoticed while nothing comes


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
        timer: seconds that never step back, for whatever is done every so often; a `clock` that is not the machine's is
            its own timer.
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
        timer: Callable[[], float] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.root, self.source, self.publisher, self.intake = root, source, publisher, intake
        self.predictor, self.learner, self.stages, self.clock = predictor, learner, stages, clock
        self.timer = timer or (time.monotonic if clock is time.time else clock)
        self.totals, self.measures = Totals(), measures
        self.requests = LabelRequests(root.label_requests, seed=root.seed, probes=root.probes.share)
        self.lifecycle = Lifecycle(source.positions(), stop)
        self.poison = PoisonSearch()
        self.patience = Patience(root.learner.max_wait_seconds, clock, self.timer)
        self.state = State(learner, measures, intake, self.totals, self.requests, self.patience, self.lifecycle)
        self.keeper: SnapshotKeeper | None = None
        self._answer = CrashIsolation(root.model.name)
        self._advice = Advice(root)
        self._dead_letter_bytes = publisher.outlet.max_bytes(root.kafka.topics.dead_letters)

    def resume(self, writer: Writer) -> None:
        """Go on with the journal where another process left it."""
        self.publisher.writer = writer

    def begin(self) -> None:
        """Nothing of the past is left to be applied again."""
        self.patience.resume(self.patience.since)  # it counts from the past, and not from when that was learned again
        self.lifecycle.catch_up()

    def keep(self, keeper: SnapshotKeeper) -> None:
        """Write snapshots from now on."""
        self.keeper = keeper

    def run(self, limits: Limits, on_turn: Callable[[Turn], None] = lambda _: None) -> None:
        """Turn until the process is told to stop or a limit is reached. A turn is never cut short, so stopping loses
        nothing."""
        self.lifecycle.go_live()
        try:
            self._run(limits, on_turn)
            if not self.lifecycle.stop.is_set():  # the end of the stream, and nothing will fill the last batch
                on_turn(Turn(updates=self.flush()))
        finally:
            self.lifecycle.end()

    def _run(self, limits: Limits, on_turn: Callable[[Turn], None]) -> None:
        idle_since = time.monotonic()
        began = self.totals.events
        while not self.lifecycle.stop.is_set():
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
        4. Only now: measure, learn, ask the probes; and learn the partial batch that has waited too long.
        5. Write a snapshot, if it is time.
        """
        size = self.root.serving.max_batch if most is None else min(most, self.root.serving.max_batch)
        start = self.stages.clock()
        records = self.poison.take(partial(self._poll, size))  # 1
        polled = self.stages.clock()
        self.stages.add("poll" if len(records) == size else "wait", polled - start)
        self.lifecycle.turn()
        now, moment, turn = self.clock(), self.timer(), Turn()
        if records:
            failpoints.reach("taken")
            batch = self._prepare(records, now, self.poison.given_up(records[0], partial(self._attempt, now)))  # 2
            failpoints.reach("predicted")
            self._publish(batch, now)  # 3
            self.totals.time(batch, self.stages.clock() - polled, self.clock())
            turn = self._absorb(batch, now)  # 4
            failpoints.reach("learned")
        if self.patience.has_run_out(moment):
            turn = replace(turn, updates=[*turn.updates, *self.flush()])
        if self.keeper is not None:
            self.keeper.keep(now)  # 5
        return turn

    def _poll(self, size: int) -> list[Record]:
        return canonical(self.source.poll(size, POLL_SECONDS), self.root.kafka.topics.inputs)

    def reapply(self, record: journal.Batch, records: Sequence[Record], *, learn: bool = True) -> Turn:
        """Learn a batch of the journal again, as it was learned then; nothing is published.

        Without `learn` its labels are discarded, and those that waited for a full batch: one of them kills.
        """
        self.lifecycle.turn()
        batch = self._prepare(records, record.now, record.crashed)
        self.compare(record, batch.taken)
        self.lifecycle.take(record.ranges, records)
        if not learn:
            batch = batch._replace(seen=self.discard(batch.seen))
            batch.join.corrections.clear()
        return self._absorb(batch, record.now, learn_unlabelled=learn)

    def compare(self, record: journal.Batch | journal.Warm, taken: str) -> None:
        """Tell where a part of the past comes out otherwise than it was written."""
        if (taken, self.learner.step) != (record.taken, record.model_step) and self.lifecycle.disagree():
            log.warning(
                "journal record %d comes out otherwise than it was written: step %d for %d; learning goes on from the "
                "records as they are",
                record.seq,
                self.learner.step,
                record.model_step,
            )

    def discard(self, seen: ProbeSplit) -> ProbeSplit:
        """Let go of a part's samples, and of those that waited for a full batch: one of them kills."""
        self.totals.labels["discarded"] += self.learner.drop() + len(seen.samples)
        return seen._replace(samples=[])

    def _prepare(self, records: Sequence[Record], now: float, crashed: Collection[Place] | None = None) -> Prepared:
        """Decode, predict and join. `crashed` names the records that are not to be tried, the others come one by one
        then."""
        with self.stages("decode"):
            came = self.intake.decode(records, crashed)
        events, reply, failures = self._answer(self.predictor, came.new, crashed)
        by_place = {record.place: record for record in records} if failures else {}
        crashes = [dead(by_place[place], error) for place, error in (failures or {}).items()]
        said = self._predictions(events, reply)
        with self.stages("join"):
            join = self.intake.join(came, events, reply, now)
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
            if self.poison.on:
                at = self.poison.positions(at, self.lifecycle.positions, batch.came.records[0])
            record = self.publisher.commit(partial(self._record, batch, now), outgoing, at)
        self.lifecycle.take(record.ranges, batch.came.records)
        if self.poison.on:
            self.poison.survive(batch.came.records[0])

    def _record(self, batch: Prepared, now: float) -> journal.Batch:
        """Return a batch's record, and read what comes next: its predictions are on their way, and not waited for."""
        with self.stages("read_ahead", within="commit"):  # else a slow broker would be blamed for it
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
        again = self.lifecycle.progress is not None
        self.totals.count(batch)
        if not again:
            self._advice.look(batch.events, self.totals)
        if batch.join.forgotten and self.root.snapshots.purge_on_forget:
            self.lifecycle.purging = True
        correct(batch.join.corrections, self.learner, self.measures)
        self.measures.measure(batch.events, batch.predictions, batch.reply, batch.join, quiet=again)
        unlabelled: Sequence[tuple[int, Sample]] = ()
        if learn_unlabelled and self.learner.strategy.learns_unlabelled:
            # What may become a probe is not learned, by its guess neither.
            unlabelled = [each for each in batch.unlabelled if not self.measures.probes.may_take(each[1].id)]
        updates = self._learn(batch.seen.samples, now, unlabelled)
        probes = self.measures.probe(len(batch.seen.samples) + batch.seen.probes)
        return Turn(
            len(batch.came.records),
            batch.events,
            batch.predictions,
            batch.reply.answer,
            batch.dead_letters,
            updates,
            self.measures.detections,
            probes,
        )

    def warm(
        self, part: Warmed, events: Sequence[Event], seen: ProbeSplit, tokens: Sequence[IntArray], now: float
    ) -> Turn:
        """Learn a part of the warm start, of which nothing was served; with the last one what waits too."""
        self.lifecycle.learned(part)
        self.measures.learn_classes(events, tokens)
        self.totals.count_probes(seen)
        updates = self._learn(seen.samples, now)
        if part.next >= part.rows:
            updates = [*updates, *self._flushed()]
        return Turn(updates=updates, probes=self.measures.probe(len(seen.samples) + seen.probes))

    def _attempt(self, now: float, place: Place) -> None:
        """Tell the journal which record is tried next."""
        self.publisher.commit(journal.Attempt(**self.common(now), place=place))

    def common(self, now: float) -> dict[str, Any]:
        """Return what every journal record begins with."""
        return self.totals.heading(self.publisher.writer, now)

    @property
    def champion_step(self) -> int:
        """The step of the served weights."""
        return self.measures.served.champion.weights.step

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
            self.patience.end()
        elif updates or self.patience.since is None:
            self.patience.begin(now)
        return [*updates, *self._flushed()] if self.patience.is_over(now) else updates

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
        self.patience.end()
        return self._learned(self.learner.flush())

    def _learned(self, updates: list[Update]) -> list[Update]:
        for update in updates:
            self.lifecycle.turn()
            self.totals.count_update(update)
            if update.skipped and self.lifecycle.progress is None:
                log.warning(
                    "loss or gradient was not finite: %d of %d steps skipped so far; if it goes on, lower "
                    "learner.learning_rate and learner.head_learning_rate",
                    self.totals.steps_skipped,
                    self.totals.steps_skipped + self.learner.step,
                )
        return updates
