"""Writes the state down while the service runs: a snapshot counts once the journal names it."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamlearn.core.timing import Stages
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal_reader import OpenJournal, place_of
from streamlearn.durability.publisher import Publisher
from streamlearn.durability.snapshots import SnapshotError, Snapshots
from streamlearn.durability.snapshots import name as snapshot_name
from streamlearn.service.state import State
from streamlearn.stream.transport import places

log = logging.getLogger(__name__)

SHORT = 0.2  # of the retention: a warning below
RETRY_SECONDS = 10.0  # after which snapshots that hold what was forgotten are tried to be deleted again


class SnapshotKeeper:
    """Takes a snapshot every so many seconds, after a commit and never before it.

    Args:
        snapshots: where they go.
        open_journal: opens the journal for reading.
        state: what is written.
        publisher: commits the record that names a snapshot.
        stages: takes the time.
        every_seconds: from the end of one to the next.
        made_by: what a snapshot tells people of its writer.
        retention: seconds after which each input topic deletes a record; topics that keep all are left out.
        named: the snapshots that the journal names already, oldest first.
        age: seconds since the last one was written; 0 where there is none.
        timer: seconds that never step back: a clock that is set back must not put a snapshot off.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        open_journal: OpenJournal,
        state: State,
        publisher: Publisher,
        stages: Stages,
        *,
        every_seconds: float,
        made_by: Mapping[str, Any],
        retention: Mapping[str, float] | None = None,
        named: Sequence[str] = (),
        age: float = 0.0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.snapshots, self.open_journal, self.every_seconds = snapshots, open_journal, every_seconds
        self.state, self.publisher, self.stages, self.timer = state, publisher, stages, timer
        self.lifecycle = state.lifecycle
        self.made_by, self.retention, self.named = made_by, dict(retention or {}), list(named)
        self.outcomes: Counter[str] = Counter()
        self._warned = False
        self._tried_at = timer() - age
        self._refused_at = -math.inf
        self._seq = -1  # the journal's next number when the last snapshot was named
        self._forgets = -1  # how many ids had been forgotten then

    def keep(self, now: float) -> None:
        """Write a snapshot if it is time; what fails is told and tried again later.

        Where an id was forgotten that older snapshots may hold, one is written at once, and those are deleted. If that
        is refused, deleting alone is tried again.
        """
        moment = self.timer()
        purges = self.lifecycle.purging and moment - self._refused_at >= RETRY_SECONDS
        if purges and self.state.totals.forgets == self._forgets:
            self._prune()
        elif purges or moment - self._tried_at >= self.every_seconds:
            self.save(now)
            self._watch(now)

    def horizon(self, now: float) -> float:
        """Return the seconds until a record that a restart needs may be deleted; infinite where none is."""
        needed: dict[str, float] = {}
        for (topic, _), timestamp in self.lifecycle.needed.copy().items():
            if timestamp > 0:
                needed[topic] = min(needed.get(topic, now), timestamp / 1000)
        left = [seconds - (now - needed.get(topic, now)) for topic, seconds in self.retention.items()]
        return min(left, default=math.inf)

    def _watch(self, now: float) -> None:
        """Warn before retention takes what a restart would have to learn again."""
        left, longest = self.horizon(now), min(self.retention.values(), default=math.inf)
        short = left < SHORT * longest
        if short and not self._warned:
            log.warning(
                "records that a restart needs are deleted in %.0f s: raise the topic's retention.ms, or let snapshots "
                "be written (snapshots.every_seconds, room on the disk)",
                max(0.0, left),
            )
        self._warned = short

    def save(self, now: float) -> bool:
        """Write a snapshot, unless nothing happened since the last one; return whether the last one is up to date.

        1. Write the state.
        2. Name it in the journal: now it counts.
        3. Find where that record stands, for later records to point back to.
        4. Delete what is older than `snapshots.keep`; all that is older, where it may hold an id that was forgotten
           and `snapshots.purge_on_forget` is set.

        What the storage refuses is told, counted, and no reason to stop: a restart then learns more of the past again.
        """
        try:
            return self._save(now)
        finally:  # the next one is so many seconds from here, however long this one took
            self._tried_at = self.timer()

    def _save(self, now: float) -> bool:
        writer, learner = self.publisher.writer, self.state.learner
        if writer.seq == self._seq:
            if self.lifecycle.purging:
                self._prune()
            return True
        name = snapshot_name(writer.incarnation, writer.seq)
        start = time.monotonic()
        try:
            with self.stages("snapshot"):
                digest = self.snapshots.write(name, self.state.state_dict(), made_by=self.made_by, now=now)  # 1
        except SnapshotError as error:
            self.outcomes["failed"] += 1
            self._refused_at = self.timer()
            log.error("no snapshot was written, and the learner goes on: %s", error)  # noqa: TRY400 - told to users
            return False
        failpoints.reach("snapshot-written")
        assert writer.start is not None
        record = journal.Snapshot(
            **self.state.totals.heading(writer, now),
            name=name,
            manifest_sha256=digest,
            weights_sha256=learner.sha256(),
            model_step=learner.step,
            positions=places(self.lifecycle.positions),
            start=writer.start,
        )
        self.publisher.commit(record)  # 2
        failpoints.reach("snapshot-named")
        writer.last_snapshot = place_of(self.open_journal, record)  # 3
        self._seq, self._forgets = writer.seq, self.state.totals.forgets
        self.lifecycle.save()
        self.named.append(name)
        self.outcomes["written"] += 1
        log.info("snapshot %s at step %d, in %.1f s", name, learner.step, time.monotonic() - start)
        self._prune()  # 4
        return True

    def _prune(self) -> None:
        keep = 1 if self.lifecycle.purging else self.snapshots.keep
        try:
            self.snapshots.prune(self.named, keep=keep)
        except SnapshotError as error:
            self._refused_at = self.timer()
            log.warning("older snapshots were not deleted: %s", error)
        else:
            self.named, self.lifecycle.purging = self.named[-keep:], False
