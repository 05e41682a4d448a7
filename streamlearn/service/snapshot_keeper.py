"""Writes the state down while the service runs: a snapshot counts once the journal names it."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from streamlearn.durability import failpoints, journal
from streamlearn.durability import snapshots as checkpoint
from streamlearn.durability.journal_reader import JournalLog
from streamlearn.durability.snapshots import SnapshotError, Snapshots
from streamlearn.service.loop import Service
from streamlearn.service.recovery import place_of
from streamlearn.stream.transport import Place

log = logging.getLogger(__name__)

SHORT = 0.2  # of the retention: a warning below
RETRY_SECONDS = 10.0  # after which snapshots that hold what was forgotten are tried to be deleted again


class SnapshotKeeper:
    """Takes a snapshot every so many seconds, after a commit and never before it.

    Args:
        snapshots: where they go.
        open_journal: opens the journal for reading.
        every_seconds: from the end of one to the next.
        made_by: what a snapshot tells people of its writer.
        retention: seconds after which each input topic deletes a record; topics that keep all are left out.
        named: the snapshots that the journal names already, oldest first.
        now: the time of the last one, or of the start.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        open_journal: Callable[[], AbstractContextManager[JournalLog]],
        *,
        every_seconds: float,
        made_by: Mapping[str, Any],
        retention: Mapping[str, float] | None = None,
        named: Sequence[str] = (),
        now: float,
    ) -> None:
        self.snapshots, self.open_journal, self.every_seconds = snapshots, open_journal, every_seconds
        self.made_by, self.retention, self.named = made_by, dict(retention or {}), list(named)
        self._warned = False
        self.outcomes: Counter[str] = Counter()
        self._tried_at = now
        self._refused_at = -math.inf
        self._seq = -1  # the journal's next number when the last snapshot was named

    def keep(self, service: Service, now: float) -> None:
        """Write a snapshot if it is time; what fails is told and tried again later."""
        purges = service.purging and now - self._refused_at >= RETRY_SECONDS
        if purges or now - self._tried_at >= self.every_seconds:
            self.save(service, now)
            self._watch(service, now)

    def horizon(self, service: Service, now: float) -> float:
        """Return the seconds until a record that a restart needs may be deleted; infinite where none is."""
        needed: dict[str, float] = {}
        for (topic, _), timestamp in service.needed.copy().items():
            if timestamp > 0:
                needed[topic] = min(needed.get(topic, now), timestamp / 1000)
        left = [seconds - (now - needed.get(topic, now)) for topic, seconds in self.retention.items()]
        return min(left, default=math.inf)

    def _watch(self, service: Service, now: float) -> None:
        """Warn before retention takes what a restart would have to learn again."""
        left, longest = self.horizon(service, now), min(self.retention.values(), default=math.inf)
        short = left < SHORT * longest
        if short and not self._warned:
            log.warning(
                "records that a restart needs are deleted in %.0f s: raise the topic's retention.ms, or let snapshots "
                "be written (snapshots.every_seconds, room on the disk)",
                max(0.0, left),
            )
        self._warned = short

    def save(self, service: Service, now: float) -> bool:
        """Write a snapshot, unless nothing happened since the last one; return whether the last one is up to date.

        1. Write the state.
        2. Name it in the journal: now it counts.
        3. Find where that record stands, for later records to point back to.
        4. Delete what is older than `snapshots.keep`; all that is older, where it may hold an id that was forgotten
           and `snapshots.purge_on_forget` is set.

        What the storage refuses is told, counted, and no reason to stop: a restart then learns more of the past again.
        """
        writer = service.publisher.writer
        self._tried_at = now
        if writer.seq == self._seq:
            if service.purging:
                self._prune(service, now)
            return True
        name = checkpoint.name(writer.incarnation, writer.seq)
        start = time.monotonic()
        try:
            with service.stages("snapshot"):
                digest = self.snapshots.write(name, service.state_dict(), made_by=self.made_by, now=now)  # 1
        except SnapshotError as error:
            self.outcomes["failed"] += 1
            self._refused_at = now
            log.error("no snapshot was written, and the learner goes on: %s", error)  # noqa: TRY400 - told to users
            return False
        failpoints.reach("snapshot-written")
        assert writer.start is not None
        record = journal.Snapshot(
            **service.common(now),
            name=name,
            manifest_sha256=digest,
            weights_sha256=service.learner.sha256(),
            model_step=service.learner.step,
            positions=tuple(Place(*tp, offset) for tp, offset in sorted(service.positions.items())),
            start=writer.start,
        )
        service.publisher.commit(record)  # 2
        failpoints.reach("snapshot-named")
        writer.last_snapshot = place_of(self.open_journal, record)  # 3
        self._seq = writer.seq
        service.needed.clear()
        self.named.append(name)
        self.outcomes["written"] += 1
        log.info("snapshot %s at step %d, in %.1f s", name, service.learner.step, time.monotonic() - start)
        self._prune(service, now)  # 4
        return True

    def _prune(self, service: Service, now: float) -> None:
        keep = 1 if service.purging else self.snapshots.keep
        try:
            self.snapshots.prune(self.named, keep=keep)
        except SnapshotError as error:
            self._refused_at = now
            log.warning("older snapshots were not deleted: %s", error)
        else:
            self.named, service.purging = self.named[-keep:], False
