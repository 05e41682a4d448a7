"""Reading the journal back: its last record, and the part after a snapshot."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from streamlearn.core.errors import BrokerError, FencedError, StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal import JournalRecord, Pointer
from streamlearn.stream.transport import Record, Source, TopicPartition, lost

CHUNK = 500  # records a poll; also how far back the search for the last record goes at first
UNSEEN = 1000  # records that a learner without transactions may write after another has read the journal
PATIENCE = 60.0  # seconds without a record where the log says that there is one
SETTLE = 60.0  # seconds for a committed record to show


class Entry(NamedTuple):
    """A journal record, and where it stands."""

    offset: int
    record: JournalRecord


class JournalLog:
    """The journal as it stands in the log, up to what was committed when it is asked.

    Args:
        source: reads the journal's topic, and nothing else.
        topic: its name.
    """

    def __init__(self, source: Source, topic: str) -> None:
        self.source, self.topic = source, topic
        partitions = [tp for tp in source.positions() if tp.topic == topic]
        if partitions != [TopicPartition(topic, 0)]:
            raise StreamlearnError(
                f"the journal has {len(partitions)} partitions, and its order needs exactly one",
                where=f"the topic '{topic}'",
                mend="name another topic as kafka.topics.journal, or let streamlearn create it",
            )
        self.partition = partitions[0]

    @property
    def begins(self) -> int:
        """The offset of the first record that the log still holds."""
        return self.source.bounds()[self.partition][0]

    def last(self) -> Entry | None:
        """Return the last record that counts; None where there is no record."""
        first, end = self.source.bounds()[self.partition]
        back = CHUNK
        while end > first:
            start = max(first, end - back)
            entries = list(self.read(start))
            if entries:
                return max(entries, key=lambda entry: (entry.record.incarnation, entry.record.seq))
            if start == first:
                break
            back *= 4
        return None

    def read(self, start: int) -> Iterator[Entry]:
        """Yield the records from an offset to the end as it is now.

        Raises:
            StreamlearnError: the log no longer holds that offset, or a record is none of ours.
        """
        first, end = self.source.bounds()[self.partition]
        if start < first:
            raise lost(self.partition, start, first, end)
        self.source.seek({self.partition: start})
        for records in polled(self.source, self.partition, end, end):
            for record in records:
                where = f"{self.partition} offset {record.offset}"
                yield Entry(record.offset, journal.decode(record.value, where))


OpenJournal = Callable[[], AbstractContextManager[JournalLog]]


def place_of(open_journal: OpenJournal, record: JournalRecord) -> Pointer:
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


def valid(entries: Iterable[Entry], where: str) -> Iterator[Entry]:
    """Leave out what a learner wrote that another had taken over from.

    Transactions fence such a learner. Without them its last records may arrive after the newer learner's start, or just
    before it, unseen: then the newer one numbers its own records from the same number, and the older ones are void.

    Raises:
        StreamlearnError: a record is missing between two others.
    """
    kept: deque[Entry] = deque()  # the last ones, since a start may yet make them void
    newest, seq = -1, None
    for entry in entries:
        record = entry.record
        if record.incarnation < newest:
            continue
        if record.incarnation > newest:
            while kept and kept[-1].record.seq >= record.seq:
                kept.pop()
                seq = kept[-1].record.seq if kept else None
        if seq is not None and record.seq != seq + 1:
            raise StreamlearnError(
                f"record {seq} is followed by record {record.seq}: something is missing",
                where=f"{where} offset {entry.offset}",
                mend="the journal needs cleanup.policy=delete, retention.ms=-1 and no other writer; "
                "give the learner a new `name` to begin anew",
            )
        newest, seq = record.incarnation, record.seq
        kept.append(entry)
        if len(kept) > UNSEEN:
            yield kept.popleft()
    yield from kept


def polled(source: Source, tp: TopicPartition, until: int, end: int) -> Iterator[list[Record]]:
    """Poll until a partition is read up to an offset: by a record there, or by a position past it.

    Args:
        source: what is polled; records of its other partitions come along.
        tp: the partition.
        until: the offset.
        end: where the partition ends.

    Raises:
        BrokerError: nothing comes.
    """
    waited = 0.0
    while source.positions()[tp] < min(until, end):
        records = source.poll(CHUNK, 0.2)
        waited = 0.0 if records else waited + 0.2
        if waited > PATIENCE:
            raise BrokerError(
                f"nothing came for {PATIENCE:g} s, though the log ends at offset {end}",
                where=str(tp),
                mend="restart; if it goes on, look after the partition's leader",
            )
        yield records
