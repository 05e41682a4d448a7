"""Fetches the records of past batches again: the journal tells their offsets and digests, the inputs have them."""

from collections import deque
from collections.abc import Mapping, Sequence

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability.journal_reader import polled
from streamlearn.stream.transport import Range, Record, Source, TopicPartition, lost, ranges


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
        tp = wanted.topic_partition
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
        for records in polled(self.source, tp, until, end):
            for record in records:
                self._waiting.setdefault(record.topic_partition, deque()).append(record)
