"""A start: where the last learner stopped, by the journal alone, and how its state comes back.

The journal decides positions; a group's committed offsets are for tools that watch the lag.
"""

import json
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version

from streamlearn.config import fingerprint
from streamlearn.core.errors import ConfigError
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal import Pointer
from streamlearn.durability.journal_reader import Entry, JournalLog, OpenJournal, place_of
from streamlearn.durability.recovery_plan import Plan, start_of, tail
from streamlearn.durability.refetch import Refetch
from streamlearn.durability.snapshots import DamagedSnapshotError, Snapshots
from streamlearn.service.loop import Service
from streamlearn.service.turn import Turn
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.transport import Place, Source, TopicPartition, offsets, places

log = logging.getLogger(__name__)

VERSION = version("streamlearn")
REPORT_SECONDS = 5.0

OpenInputs = Callable[[Mapping[TopicPartition, int]], AbstractContextManager[Source]]


def _changed(service: Service, start: journal.Start) -> list[str]:
    """Name the settings that are not those of a start."""
    now = fingerprint.configuration(service.root)
    return fingerprint.changed(start.configuration, now, same_version=start.version == VERSION)


def _known(topic_ids: Mapping[str, str]) -> dict[str, str]:
    return {topic: known for topic, known in topic_ids.items() if known}


class Recovery:
    """Brings a service to where the last one stopped.

    Args:
        found: what `plan` returned.
        snapshots: where they are.
        open_journal: opens the journal for reading.
        open_inputs: opens the input topics for reading, at these positions and wherever they begin otherwise.
        warm: the warm start, of which parts may have to be learned again.
        topic_ids: what the input topics are now; what one held that was made anew since cannot be learned again.
        accept_loss: go on with what is left where something is gone.
    """

    def __init__(
        self,
        found: Plan,
        snapshots: Snapshots,
        open_journal: OpenJournal,
        open_inputs: OpenInputs,
        *,
        warm: WarmStart | None = None,
        topic_ids: Mapping[str, str] | None = None,
        accept_loss: bool = False,
    ) -> None:
        self.found, self.snapshots, self.accept_loss = found, snapshots, accept_loss
        self.warm = warm or WarmStart(None)
        self.topic_ids = dict(topic_ids or {})
        self.open_journal, self.open_inputs = open_journal, open_inputs
        self.lost = 0  # batches of which some records are gone

    def run(self, service: Service) -> bool:
        """Restore the state, and write in the journal that a learner begins; return whether that came to its end.

        1. Load the newest snapshot that is whole, of those that the journal names.
        2. Write the start.
        3. Learn again what came after the snapshot; nothing of it is published.

        Raises:
            ConfigError: the configuration changed in the middle of what is to be learned again.
            StreamlearnError: something that is needed is gone, and `recovery.accept_loss` is off.
        """
        found = self.found
        service.lifecycle.recover(found.batches)
        self._compare(service, found.last_start)
        pointer = self.load(service)  # 1
        if found.warm is not None:  # before the start is written: a refusal is no death
            self.warm.require(service, found.warm, lossy=self.accept_loss)
        service.resume(found.writer)
        values = fingerprint.configuration(service.root)
        start = journal.Start(
            **service.common(service.clock()),
            configuration=values,
            configuration_sha256=fingerprint.digest(values),
            **fingerprint.machinery(service.learner.model.device),
            seed=service.root.seed,
            topic_ids={**(found.last_start.topic_ids if found.last_start else {}), **_known(self.topic_ids)},
            positions=places(service.source.positions()),
        )
        service.publisher.commit(start, positions=service.source.positions())  # 2
        found.writer.start = place_of(self.open_journal, start)
        if isinstance(found.suspect, int):
            log.error("the labels of journal record %d kill the process: they are not learned", found.suspect)
            service.publisher.commit(journal.Discard(**service.common(service.clock()), batch=found.suspect))
            found.discarded.add(found.suspect)
        failpoints.reach("started")
        if found.positions:
            if not self.reapply(service, pointer, until=start.seq, careful=found.short_lived):  # 3
                return False
            service.lifecycle.stand_at(service.source.positions())
            if found.short_lived:
                service.publisher.commit(journal.Attempt(**service.common(service.clock())))
        service.begin()
        if found.short_lived:
            service.poison.begin(found.deaths, found.suspect if isinstance(found.suspect, Place) else None)
        return True

    def load(self, service: Service, named: Sequence[Entry] | None = None) -> Pointer | None:
        """Load the newest whole snapshot into the service, and return where its record stands; None if there is none.

        Raises:
            StreamlearnError: none is whole, and there is no way to do without.
        """
        named = self.found.named if named is None else named
        for entry in named:
            record = entry.record
            assert isinstance(record, journal.Snapshot)
            try:
                loaded = self.snapshots.load(record.name, record.manifest_sha256)
            except DamagedSnapshotError as error:
                log.error("a snapshot is of no use, trying the one before it: %s", error)  # noqa: TRY400 - for users
                continue
            service.state.load_state_dict(loaded.state)
            log.info("went back to snapshot %s, at step %d", record.name, service.learner.step)
            return Pointer(at_seq=record.seq, journal_offset=entry.offset)
        if named:
            log.warning("no snapshot is whole: everything is learned again from the journal's first record")
        return None

    def reapply(
        self, service: Service, pointer: Pointer | None, *, until: int | None = None, careful: bool = False
    ) -> bool:
        """Learn again what the journal tells after a snapshot's record, up to the record with the number `until`.

        Returns whether it came to the end: a service that is told to stop stops here too.
        """
        total, discarded = self._survey(pointer, until)
        if total:
            log.info("learning again %d batches that came after the last snapshot", total)
        service.lifecycle.recover(total)
        told, done = time.monotonic(), 0
        for _, turn in self._follow(service, pointer, discarded, until=until, careful=careful):
            if service.lifecycle.stop.is_set():
                log.info("stopped after %d of %d batches; the next start begins with them again", done, total)
                return False
            if turn is None:
                continue
            done += 1
            service.lifecycle.recovered(done)
            failpoints.reach("reapplied")
            if time.monotonic() - told >= REPORT_SECONDS:
                told = time.monotonic()
                log.info("%d of %d batches learned again", done, total)
        if self.lost:
            log.warning("of %d batches some records are gone; what was left of them was learned", self.lost)
        return True

    def follow(self, service: Service, pointer: Pointer | None) -> Iterator[tuple[journal.JournalRecord, Turn | None]]:
        """Apply the records after a snapshot's one by one; yields each, a batch with its turn once it is learned.

        Raises:
            ConfigError: what comes was learned under another configuration.
        """
        yield from self._follow(service, pointer, self._survey(pointer, None)[1])

    def _follow(  # noqa: C901 - one record after the other, by its kind
        self,
        service: Service,
        pointer: Pointer | None,
        discarded: Collection[int],
        *,
        until: int | None = None,
        careful: bool = False,
    ) -> Iterator[tuple[journal.JournalRecord, Turn | None]]:
        """`careful` tells the journal of each batch before it is learned, so that one that kills is found."""
        with self.open_journal() as journal_log:
            entries = self._entries(journal_log, pointer, until)
            first = next(entries, None)
            if first is None:
                return
            positions = offsets(getattr(first.record, "positions", ()))
            if pointer is None:
                service.lifecycle.stand_at(positions)
            start = first.record if isinstance(first.record, journal.Start) else None
            if isinstance(first.record, journal.Snapshot):
                with self.open_journal() as another:  # this one stands in the middle of the tail
                    start = start_of(another, first.record)
            ids = start.topic_ids if start is not None else {}
            with self.open_inputs(positions) as source:
                refetch = Refetch(source, positions)
                for entry in entries:
                    record = entry.record
                    if isinstance(record, journal.Warm | journal.Batch | journal.Flush) and start is not None:
                        self._obey(service, start)
                        start = None
                    if isinstance(record, journal.Batch):  # before the attempt: a refusal here is no death
                        there = [each for each in record.ranges if self._is_there(each.topic, ids)]
                        records, lost = refetch.fetch(there, lossy=self.accept_loss)
                        self.lost += lost or len(there) < len(record.ranges)
                    if careful and isinstance(record, journal.Warm | journal.Batch):
                        attempt = journal.Attempt(**service.common(service.clock()), batch=record.seq)
                        service.publisher.commit(attempt)
                    if isinstance(record, journal.Batch):
                        yield record, service.reapply(record, records, learn=record.seq not in discarded)
                        continue
                    if isinstance(record, journal.Warm):
                        turn = self.warm.again(
                            service, record, learn=record.seq not in discarded, lossy=self.accept_loss
                        )
                        self.lost += turn is None
                        yield record, turn
                        continue
                    if isinstance(record, journal.Flush):
                        service.reflush()
                    elif isinstance(record, journal.Start):
                        start = record
                        if record.topic_ids != ids:  # from here on another topic of the same name was read
                            ids = record.topic_ids
                            refetch.move(offsets(record.positions))
                    yield record, None

    def _is_there(self, topic: str, ids: Mapping[str, str]) -> bool:
        """Say whether a topic is still the one that was read when these were the ids."""
        now = self.topic_ids.get(topic)
        return not now or ids.get(topic, now) == now

    def _obey(self, service: Service, start: journal.Start) -> None:
        differences = _changed(service, start)
        if differences and self.accept_loss:
            log.warning(
                "%s changed: what was learned from journal record %d on is learned again under the new values",
                ", ".join(differences),
                start.seq,
            )
        elif differences:
            old = json.dumps(start.configuration.get(differences[0]))
            raise ConfigError(
                f"other values than when journal record {start.seq} and those after it were learned",
                where=", ".join(differences),
                mend=f"take those of that time, such as `--set {differences[0]}={old}`; a change needs a snapshot "
                "before it: stop the learner in order, or start it once as it was with `--max-events 0`",
            )

    def _entries(self, journal_log: JournalLog, pointer: Pointer | None, until: int | None) -> Iterator[Entry]:
        for entry in tail(journal_log, pointer):
            if until is not None and entry.record.seq >= until:
                return
            yield entry

    def _survey(self, pointer: Pointer | None, until: int | None) -> tuple[int, Collection[int]]:
        """Return how many batches are to be learned again, and the numbers of those whose labels are discarded.

        The plan knows it of the newest snapshot. From another one on the journal is read, to its end: what is discarded
        is told after the batch.
        """
        if pointer == self.found.writer.last_snapshot:
            return self.found.batches, self.found.discarded
        batches, discarded = 0, set(self.found.discarded)  # the last of them may not show in the journal yet
        with self.open_journal() as journal_log:
            for entry in tail(journal_log, pointer):
                record = entry.record
                if isinstance(record, journal.Discard):
                    discarded.add(record.batch)
                elif isinstance(record, journal.Warm | journal.Batch) and (until is None or record.seq < until):
                    batches += 1
        return batches, discarded

    def _compare(self, service: Service, before: journal.Start | None) -> None:
        """Say what is different from the last start, and refuse what would make the past another one."""
        if before is None:
            return
        differences = _changed(service, before)
        if differences and self.found.batches and not self.accept_loss:
            raise ConfigError(
                f"changed since {self.found.batches} batches were learned that no snapshot holds yet, and they must be "
                "learned again as they were",
                where=", ".join(differences),
                mend="start once as it was before, with `--max-events 0`: that writes a snapshot; then make the change",
            )
        if differences:
            log.info("changed since the last start: %s", ", ".join(differences))
        machinery = fingerprint.machinery(service.learner.model.device)
        others = [name for name, value in machinery.items() if getattr(before, name) != value]
        if others and self.found.batches:
            log.warning(
                "%s changed since the last start: what is learned again may differ in its last bits, each label is "
                "learned once all the same",
                ", ".join(others),
            )
