"""Reading the journal back: its last record, the part after a snapshot, and the records that a batch was made of."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamlearn.core.errors import BrokerError, StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal import JournalRecord, Pointer
from streamlearn.stream.transport import Range, Record, Source, TopicPartition, lost, ranges

CHUNK = 500  # records a poll; also how far back the search for the last record goes at first
UNSEEN = 1000  # records that a learner without transactions may write after another has read the journal
PATIENCE = 60.0  # seconds without a record where the log says that there is one


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
        waited = 0.0
        while self.source.positions()[self.partition] < end:
            records = self.source.poll(CHUNK, 0.2)
            waited = 0.0 if records else waited + 0.2
            if waited > PATIENCE:
                raise BrokerError(
                    f"nothing came for {PATIENCE:g} s, though the log ends at offset {end}",
                    where=str(self.partition),
                    mend="restart; if it goes on, look after the partition's leader",
                )
            for record in records:
                where = f"{self.partition} offset {record.offset}"
                yield Entry(record.offset, journal.decode(record.value, where))


@dataclass
class Writer:
    """Numbers the records that this start of the learner writes.

    Args:
        incarnation: counts the starts.
        seq: of the next record.
        last_snapshot: what each record points back to.
        start: the record of this start.
    """

    incarnation: int = 0
    seq: int = 0
    last_snapshot: Pointer | None = None
    start: Pointer | None = None

    def common(self, now: float) -> dict[str, Any]:
        """Return what every record begins with."""
        return {"seq": self.seq, "incarnation": self.incarnation, "now": now, "last_snapshot": self.last_snapshot}

    def wrote(self) -> None:
        """Note that the record was committed."""
        self.seq += 1


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


class Refetch:
    """Fetches the records of past batches again, each exactly as it was.

    Batches follow one another in each partition, so one pass over the log serves them all. What came early waits.

    Args:
        source: reads the input topics.
        positions: the next offset of each partition at the first batch; others are read from where the source stands.
    """

    def __init__(self, source: Source, positions: Mapping[TopicPartition, int]) -> None:
        self.source = source
        self._waiting: dict[TopicPartition, deque[Record]] = {}
        self.move(positions)

    def move(self, positions: Mapping[TopicPartition, int]) -> None:
        """Go on from other positions: what was fetched before them is of no use."""
        self._waiting.clear()
        bounds = self.source.bounds()
        there = {tp: offset for tp, offset in positions.items() if tp in bounds}
        self.source.seek({tp: min(max(offset, bounds[tp][0]), bounds[tp][1]) for tp, offset in there.items()})

    def fetch(self, wanted: Sequence[Range], *, lossy: bool = False) -> tuple[list[Record], bool]:
        """Return the records of the ranges, in their order, and whether some were lost.

        Args:
            wanted: what the journal says of a batch.
            lossy: return what is left of it where something is gone.

        Raises:
            StreamlearnError: the log does not hold them any more, or holds others.
        """
        records, lost_some = [], False
        for each in wanted:
            some, whole = self._one(each, lossy=lossy)
            records += some
            lost_some |= not whole
        return records, lost_some

    def _one(self, wanted: Range, *, lossy: bool) -> tuple[list[Record], bool]:
        tp = TopicPartition(wanted.topic, wanted.partition)
        if tp not in self.source.positions():
            raise StreamlearnError(
                "was learned from, and is not among the inputs", where=str(tp), mend="name its topic in kafka.topics"
            )
        self._fetch(tp, wanted.next, lossy=lossy)
        waiting = self._waiting.setdefault(tp, deque())
        records = []
        while waiting and waiting[0].offset < wanted.next:
            record = waiting.popleft()
            if record.offset >= wanted.start:
                records.append(record)
        found = ranges(records)
        seen, count = (found[0].digest, found[0].count) if found else ("", 0)
        whole = (count, seen) == (wanted.count, wanted.digest)
        if not whole and not lossy:
            difference = f"{count} of {wanted.count} records" if count != wanted.count else "other records"
            raise StreamlearnError(
                f"offsets {wanted.start} to {wanted.next - 1} were learned, and the log now gives {difference} there",
                where=str(tp),
                mend="retention or compaction took them, or the topic was made anew; what was learned from them since "
                "the last snapshot cannot be rebuilt: set `recovery.accept_loss: true` to go on with what is left",
            )
        # As many records that are not the same are another topic's, which will be learned in their own turn.
        return records if whole or count != wanted.count else [], whole

    def _fetch(self, tp: TopicPartition, until: int, *, lossy: bool) -> None:
        """Poll until the partition is read up to `until`: by a record there, or by a position past it."""
        if self.source.positions()[tp] >= until:
            return
        first, end = self.source.bounds()[tp]
        start = self.source.positions()[tp]
        if start < first:
            if not lossy:
                raise lost(tp, start, first, end)
            self.source.seek({tp: first})
        waited = 0.0
        while self.source.positions()[tp] < min(until, end):
            records = self.source.poll(CHUNK, 0.2)
            for record in records:
                self._waiting.setdefault(TopicPartition(*record[:2]), deque()).append(record)
            waited = 0.0 if records else waited + 0.2
            if waited > PATIENCE:
                raise BrokerError(
                    f"nothing came for {PATIENCE:g} s, though the log ends at offset {end}",
                    where=str(tp),
                    mend="restart; if it goes on, look after the partition's leader",
                )
