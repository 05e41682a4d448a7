"""A start: where the last learner stopped, by the journal alone, and how its state comes back.

The journal decides positions; a group's committed offsets are for tools that watch the lag.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version

from streamlearn.config import fingerprint
from streamlearn.core.errors import BrokerError, ConfigError, FencedError
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal import Pointer
from streamlearn.durability.journal_reader import Entry, JournalLog
from streamlearn.durability.recovery_plan import Plan, tail
from streamlearn.durability.refetch import Refetch
from streamlearn.durability.snapshots import DamagedSnapshotError, Snapshots
from streamlearn.service.loop import Progress, Service, Turn
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.transport import Place, Source, TopicPartition

log = logging.getLogger(__name__)

VERSION = version("streamlearn")
ALONE = 8  # polls that are taken one record at a time once the last starts died early
SETTLE = 60.0  # seconds for a committed record to show
REPORT_SECONDS = 5.0

OpenJournal = Callable[[], AbstractContextManager[JournalLog]]
OpenInputs = Callable[[Mapping[TopicPartition, int]], AbstractContextManager[Source]]


def place_of(open_journal: OpenJournal, record: journal.JournalRecord) -> Pointer:
    """Return where a record stands that was just committed: it may take a moment to show.

    Raises:
        FencedError: the journal's last record is another learner's.
        BrokerError: it does not show.
    """
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        with open_journal() as journal_log:
            last = journal_log.last()
        if last is not None and last.record.incarnation > record.incarnation:
            raise FencedError(
                "another learner of this name has started", mend="leave the work to it; do not restart this one"
            )
        if last is not None and (last.record.incarnation, last.record.seq) == (record.incarnation, record.seq):
            return Pointer(at_seq=record.seq, journal_offset=last.offset)
        time.sleep(0.05)
    raise BrokerError(
        f"record {record.seq} was committed and does not show", where="the journal", mend="restart; look at the broker"
    )


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
        topic_ids: Mapping[str, str] | None = None,
        accept_loss: bool = False,
    ) -> None:
        self.found, self.snapshots, self.accept_loss = found, snapshots, accept_loss
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
        service.progress = Progress(0, found.batches)
        self._compare(service, found.last_start)
        pointer = self.load(service)  # 1
        if found.warm is not None:  # before the start is written: a refusal is no death
            WarmStart(service.root.warm_start).require(found.warm, lossy=self.accept_loss)
        service.publisher.writer = found.writer
        values = fingerprint.configuration(service.root)
        start = journal.Start(
            **service.common(service.clock()),
            configuration=values,
            configuration_sha256=fingerprint.digest(values),
            **fingerprint.machinery(service.learner.model.device),
            seed=service.root.seed,
            topic_ids={**(found.last_start.topic_ids if found.last_start else {}), **_known(self.topic_ids)},
            positions=tuple(Place(*tp, offset) for tp, offset in sorted(service.source.positions().items())),
        )
        service.publisher.commit(start, positions=service.source.positions())  # 2
        found.writer.start = place_of(self.open_journal, start)
        if isinstance(found.suspect, int):
            log.error("the labels of journal record %d kill the process: they are not learned", found.suspect)
            service.publisher.commit(journal.Discard(**service.common(service.clock()), batch=found.suspect))
        failpoints.reach("started")
        if found.positions:
            if not self.reapply(service, pointer, until=start.seq, careful=found.short_lived):  # 3
                return False
            service.positions = dict(service.source.positions())
            if found.short_lived:
                service.publisher.commit(journal.Attempt(**service.common(service.clock())))
        service.begin()
        if found.short_lived:
            service.alone, service.suspect = ALONE, found.suspect if isinstance(found.suspect, Place) else None
            log.error("%d starts did not live long: records are taken one by one, to find one that kills", found.deaths)
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
            service.load_state_dict(loaded.state)
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
        total = self._count(pointer, until)
        if total:
            log.info("learning again %d batches that came after the last snapshot", total)
        service.progress = Progress(0, total)
        told, done = time.monotonic(), 0
        for _, turn in self.follow(service, pointer, until=until, careful=careful):
            if service.stop.is_set():
                log.info("stopped after %d of %d batches; the next start begins with them again", done, total)
                return False
            if turn is None:
                continue
            done += 1
            service.progress = Progress(done, total)
            failpoints.reach("reapplied")
            if time.monotonic() - told >= REPORT_SECONDS:
                told = time.monotonic()
                log.info("%d of %d batches learned again", done, total)
        if self.lost:
            log.warning("of %d batches some records are gone; what was left of them was learned", self.lost)
        return True

    def follow(  # noqa: C901 - one record after the other, by its kind
        self, service: Service, pointer: Pointer | None, *, until: int | None = None, careful: bool = False
    ) -> Iterator[tuple[journal.JournalRecord, Turn | None]]:
        """Apply the records after a snapshot's one by one; yields each, a batch with its turn once it is learned.

        `careful` tells the journal of each batch before it is learned, so that one that kills is found.

        Raises:
            ConfigError: what comes was learned under another configuration.
        """
        with self.open_journal() as journal_log:
            # To the end: what is discarded is told after the batch.
            told = (entry.record for entry in tail(journal_log, pointer))
            discarded = {record.batch for record in told if isinstance(record, journal.Discard)}
            entries = self._entries(journal_log, pointer, until)
            first = next(entries, None)
            if first is None:
                return
            positions = {TopicPartition(*tp): offset for *tp, offset in getattr(first.record, "positions", ())}
            if pointer is None:
                service.positions = dict(positions)
            start = self._start_of(journal_log, first.record)
            ids = start.topic_ids if start is not None else {}
            warm = WarmStart(service.root.warm_start)
            with self.open_inputs(positions) as source:
                refetch = Refetch(source, positions)
                for entry in entries:
                    record = entry.record
                    if isinstance(record, journal.Warm | journal.Batch | journal.Flush) and start is not None:
                        self._obey(service, start)
                        start = None
                    if careful and isinstance(record, journal.Warm | journal.Batch):
                        attempt = journal.Attempt(**service.common(service.clock()), batch=record.seq)
                        service.publisher.commit(attempt)
                    if isinstance(record, journal.Batch):
                        there = [each for each in record.ranges if self._is_there(each.topic, ids)]
                        records, lost = refetch.fetch(there, lossy=self.accept_loss)
                        self.lost += lost or len(there) < len(record.ranges)
                        yield record, service.reapply(record, records, learn=record.seq not in discarded)
                        continue
                    if isinstance(record, journal.Warm):
                        yield record, self._warm(warm, service, record, learn=record.seq not in discarded)
                        continue
                    if isinstance(record, journal.Flush):
                        service.reflush()
                    elif isinstance(record, journal.Start):
                        start = record
                        if record.topic_ids != ids:  # from here on another topic of the same name was read
                            ids = record.topic_ids
                            refetch.move({TopicPartition(topic, n): offset for topic, n, offset in record.positions})
                    yield record, None

    def _warm(self, warm: WarmStart, service: Service, record: journal.Warm, *, learn: bool) -> Turn | None:
        turn = warm.again(service, record, learn=learn, lossy=self.accept_loss)
        self.lost += turn is None
        return turn

    def _is_there(self, topic: str, ids: Mapping[str, str]) -> bool:
        """Say whether a topic is still the one that was read when these were the ids."""
        now = self.topic_ids.get(topic)
        return not now or ids.get(topic, now) == now

    def _start_of(self, journal_log: JournalLog, first: journal.JournalRecord) -> journal.Start | None:
        """Return the start under which the records after the first one were written, where the journal still has it."""
        if isinstance(first, journal.Snapshot) and first.start.journal_offset >= journal_log.begins:
            # Another reader: this one stands in the middle of the tail.
            with self.open_journal() as another:
                first = next(another.read(first.start.journal_offset)).record
        return first if isinstance(first, journal.Start) else None

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

    def _count(self, pointer: Pointer | None, until: int | None) -> int:
        if pointer == self.found.writer.last_snapshot:
            return self.found.batches
        with self.open_journal() as journal_log:
            entries = self._entries(journal_log, pointer, until)
            return sum(isinstance(entry.record, journal.Warm | journal.Batch) for entry in entries)

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
