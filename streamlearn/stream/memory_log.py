"""A log of records in this process, with real transactions: for tests, and for `evaluate`.

It behaves as Kafka does where a reader or a writer can tell: offsets per partition, markers of transactions
that take an offset each, readers that stop at the first open transaction and never see an aborted record,
transactional ids that fence an older holder, committed offsets per group, retention. It has no threads of its
own, and stamps records with the clock it is given, so that a run can be repeated.

Records with a key go to the partition `crc32(key) % partitions` (Kafka's own choice, murmur2, is slow in
Python); those without a key take the partitions in turn.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from streamlearn.core.errors import ConfigError, FencedError, StreamlearnError
from streamlearn.stream.transport import Message, Record, Start, TopicPartition, deleted, lost


@dataclass(slots=True)
class _Partition:
    """One partition. An entry of None is an offset without a record: a marker, or an aborted record."""

    base: int = 0
    entries: list[Record | None] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)  # transactional id -> its first offset here

    @property
    def end(self) -> int:
        return self.base + len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where a reader of committed records stops."""
        return min(self.open.values()) if self.open else self.end


@dataclass(slots=True)
class _Producer:
    """What the log knows of one transactional id."""

    epoch: int = 0
    written: dict[TopicPartition, list[int]] = field(default_factory=dict)


class MemoryLog:
    """Topics, partitions, groups and transactions in memory.

    Args:
        clock: the timestamp of an appended record, in milliseconds since 1970. The default stands still at 0.
        max_bytes: the largest message taken: key, value and headers together.
    """

    def __init__(self, *, clock: Callable[[], int] = lambda: 0, max_bytes: int = 1_000_000) -> None:
        self.clock, self.max_bytes = clock, max_bytes
        self.groups: dict[str, dict[TopicPartition, int]] = {}
        self._topics: dict[str, list[_Partition]] = {}
        self._turn: dict[str, int] = {}
        self._producers: dict[str, _Producer] = {}
        self.changed = threading.Condition(threading.RLock())

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic, or add partitions to it up to this number."""
        with self.changed:
            known = self._topics.setdefault(topic, [])
            known.extend(_Partition() for _ in range(partitions - len(known)))
            self.changed.notify_all()

    def delete(self, topic: str) -> None:
        """Delete a topic with its records; the offsets that groups committed stay, as they do in Kafka."""
        with self.changed:
            del self._topics[topic]

    def topics(self) -> dict[str, int]:
        """Return the number of partitions of each topic."""
        return {topic: len(partitions) for topic, partitions in self._topics.items()}

    def append(self, topic: str, messages: Iterable[Message], *, partition: int | None = None) -> None:
        """Append messages outside of any transaction; their partition is given, or chosen by their keys."""
        with self.changed:
            self._write(topic, messages, partition)
            self.changed.notify_all()

    def check(self, topic: str, messages: Iterable[Message]) -> None:
        """Refuse messages that are too large, or have no topic."""
        self._of(topic)
        for value, key, headers in messages:
            size = len(value or b"") + len(key or b"")
            if headers:
                size += sum(len(name) + len(content or b"") for name, content in headers)
            if size > self.max_bytes:
                raise StreamlearnError(
                    f"a message of {size} bytes is larger than the {self.max_bytes} that the log takes",
                    where=f"the topic '{topic}'",
                    mend="raise `max_bytes` of the log, or send less",
                )

    def read(self, tp: TopicPartition, offset: int, limit: int) -> tuple[list[Record], int]:
        """Return up to `limit` committed records from `offset` on, and the offset to go on from.

        Raises:
            StreamlearnError: the offset is not in the partition (any more).
        """
        with self.changed:
            part = self._partition(tp)
            if not part.base <= offset <= part.end:
                raise lost(tp, offset, part.base, part.end)
            records: list[Record] = []
            entries, at, end = part.entries, offset - part.base, part.stable - part.base
            while at < end and len(records) < limit:
                chunk = entries[at : min(at + limit - len(records), end)]
                records += [record for record in chunk if record is not None]
                at += len(chunk)
            # Offsets without a record count as read, or a reader would never be at the end behind a marker.
            while at < end and entries[at] is None:
                at += 1
            return records, part.base + at

    def records(self, topic: str) -> list[Record]:
        """Return every committed record of a topic, by partition and offset."""
        with self.changed:
            return [
                record
                for part in self._of(topic)
                for record in part.entries[: part.stable - part.base]
                if record is not None
            ]

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Return the first offset of a partition, and its last stable offset."""
        part = self._partition(tp)
        return part.base, part.stable

    def offset_at(self, tp: TopicPartition, timestamp: int) -> int:
        """Return the offset of the first record at or after a time (in milliseconds), else the end."""
        part = self._partition(tp)
        for record in part.entries:
            if record is not None and record.timestamp >= timestamp:
                return record.offset
        return part.stable

    def truncate(self, tp: TopicPartition, before: int) -> None:
        """Drop the records before an offset, as retention does."""
        with self.changed:
            part = self._partition(tp)
            del part.entries[: max(0, before - part.base)]
            part.base = max(part.base, before)

    # The producers' side: `MemoryOutlet` calls these with the epoch that `fence` gave it.

    def fence(self, transactional_id: str) -> int:
        """Abort what an earlier holder of the id left open, lock it out, return the new holder's epoch."""
        with self.changed:
            producer = self._producers.setdefault(transactional_id, _Producer())
            self._end(transactional_id, producer, commit=False)
            producer.epoch += 1
            return producer.epoch

    def write(self, transactional_id: str, epoch: int, topic: str, messages: Iterable[Message]) -> None:
        """Append messages that nobody sees before `commit`."""
        with self.changed:
            producer = self._holder(transactional_id, epoch)
            for index, offsets in self._write(topic, messages, None, transactional_id).items():
                producer.written.setdefault(TopicPartition(topic, index), []).extend(offsets)

    def commit(
        self, transactional_id: str, epoch: int, group: str | None, positions: Mapping[TopicPartition, int]
    ) -> None:
        """Make the open transaction's messages visible and store the group's positions, together."""
        with self.changed:
            producer = self._holder(transactional_id, epoch)
            if group is not None:
                self.groups.setdefault(group, {}).update(positions)
            self._end(transactional_id, producer, commit=True)

    def abort(self, transactional_id: str, epoch: int) -> None:
        """Hide the open transaction's messages for ever."""
        with self.changed:
            self._end(transactional_id, self._holder(transactional_id, epoch), commit=False)

    def _holder(self, transactional_id: str, epoch: int) -> _Producer:
        producer = self._producers[transactional_id]
        if producer.epoch != epoch:
            raise FencedError(
                f"another producer with the transactional id '{transactional_id}' took over",
                mend="leave the work to it; do not restart this one",
            )
        return producer

    def _end(self, transactional_id: str, producer: _Producer, *, commit: bool) -> None:
        for tp, offsets in producer.written.items():
            part = self._partition(tp)
            if not commit:
                for offset in offsets:
                    if offset >= part.base:
                        part.entries[offset - part.base] = None
            part.entries.append(None)  # the marker
            part.open.pop(transactional_id, None)
        producer.written = {}
        self.changed.notify_all()

    def _write(
        self,
        topic: str,
        messages: Iterable[Message],
        partition: int | None,
        transactional_id: str | None = None,
    ) -> dict[int, list[int]]:
        """Append, and return the offsets that were written to each partition."""
        parts = self._of(topic)
        count, turn, now = len(parts), self._turn.get(topic, 0), self.clock
        written: dict[int, list[int]] = {}
        for value, key, headers in messages:
            if partition is not None:
                index = partition
            elif key is not None:
                index = crc32(key) % count
            else:
                index, turn = turn % count, turn + 1
            part = parts[index]
            offset = part.base + len(part.entries)
            part.entries.append(Record(topic, index, offset, key, value, tuple(headers), now()))
            written.setdefault(index, []).append(offset)
        if transactional_id is not None:
            for index, offsets in written.items():
                parts[index].open.setdefault(transactional_id, offsets[0])
        self._turn[topic] = turn
        return written

    def _of(self, topic: str) -> list[_Partition]:
        if topic not in self._topics:
            raise ConfigError(f"the topic '{topic}' does not exist", mend="create it with `MemoryLog.create`")
        return self._topics[topic]

    def _partition(self, tp: TopicPartition) -> _Partition:
        return self._of(tp.topic)[tp.partition]


class MemorySource:
    """Reads all partitions of its topics in a `MemoryLog`.

    Args:
        log: where the records are.
        topics: what to read.
        group: whose committed offsets to begin at.
        start: where a partition begins that has neither a position nor a committed offset.
        positions: where to begin, before anything else.
        accept_loss: begin at the nearest offset where the log no longer holds a position, instead of an error.
    """

    def __init__(
        self,
        log: MemoryLog,
        topics: Sequence[str],
        *,
        group: str | None = None,
        start: Start = "earliest",
        positions: Mapping[TopicPartition, int] | None = None,
        accept_loss: bool = False,
    ) -> None:
        self._log, self._topics, self._group = log, list(topics), group
        for topic in topics:
            log._of(topic)  # noqa: SLF001 - one file, one subject: raises for a missing topic
        known = {**self.committed(), **(positions or {})}
        self._positions: dict[TopicPartition, int] = {}
        begun = {tp.topic for tp in known}
        for tp in self._partitions():
            if tp in known:
                self._positions[tp] = known[tp]
            elif tp.topic in begun or start == "earliest":
                # Its siblings' positions do not name it, so it was added later, and nothing of it was read.
                self._positions[tp] = log.bounds(tp)[0]
            elif start == "latest":
                self._positions[tp] = log.bounds(tp)[1]
            else:
                self._positions[tp] = log.offset_at(tp, int(start.timestamp() * 1000))
            first, last = log.bounds(tp)
            if not first <= self._positions[tp] <= last:
                if not accept_loss:
                    raise lost(tp, self._positions[tp], first, last)
                self._positions[tp] = min(max(self._positions[tp], first), last)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return up to `max_records` that are there now; wait up to `timeout` seconds for the first one."""
        deadline = time.monotonic() + timeout
        with self._log.changed:
            while True:
                records = self._take(max_records)
                left = deadline - time.monotonic()
                if records or left <= 0:
                    return records
                self._log.changed.wait(left)

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each assigned partition."""
        return dict(self._positions)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; the other partitions stay where they are."""
        self._positions.update(positions)

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return the first offset of each assigned partition, and its last stable offset."""
        return {tp: self._log.bounds(tp) for tp in self._positions}

    def committed(self) -> dict[TopicPartition, int]:
        """Return the group's committed offsets; partitions without one are left out."""
        offsets = self._log.groups.get(self._group, {}) if self._group is not None else {}
        return {tp: offset for tp, offset in offsets.items() if tp.topic in self._topics}

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many offsets each partition holds beyond the source's position."""
        return {tp: max(0, self._log.bounds(tp)[1] - offset) for tp, offset in self._positions.items()}

    def stalled(self) -> set[TopicPartition]:
        """Return none: a log in memory gives what it has."""
        return set()

    def at_end(self) -> bool:
        """Return whether every partition was read to its last stable record."""
        return not any(self.lag().values())

    def close(self) -> None:
        """Nothing to release."""

    def _partitions(self) -> list[TopicPartition]:
        counts = self._log.topics()
        return [TopicPartition(topic, i) for topic in self._topics for i in range(counts.get(topic, 0))]

    def _take(self, max_records: int) -> list[Record]:
        partitions = self._partitions()
        if len(partitions) != len(self._positions):
            for tp in self._positions.keys() - set(partitions):
                raise deleted(tp, self._positions[tp])
            for tp in partitions:
                self._positions.setdefault(tp, self._log.bounds(tp)[0])
        records: list[Record] = []
        for tp in partitions:
            if len(records) < max_records:
                limit = max_records - len(records)
                some, self._positions[tp] = self._log.read(tp, self._positions[tp], limit)
                records += some
        return records


class MemoryOutlet:
    """Writes to a `MemoryLog`: exactly-once with a transactional id, at-least-once without.

    Args:
        log: where to write.
        group: whose offsets `commit` stores.
        transactional_id: fences every earlier outlet with the same id.
    """

    def __init__(self, log: MemoryLog, *, group: str | None = None, transactional_id: str | None = None) -> None:
        self._log, self._group, self._id = log, group, transactional_id
        self._epoch = 0 if transactional_id is None else log.fence(transactional_id)
        self._queue: list[tuple[str, list[Message]]] = []

    @property
    def transactional(self) -> bool:
        """Whether what is committed together becomes visible together."""
        return self._id is not None

    def begin(self) -> None:
        """Open a transaction."""
        if self._id is not None:
            self._log._holder(self._id, self._epoch)  # noqa: SLF001 - raises where fenced

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Queue the messages. They count once `commit` has returned."""
        self._log.check(topic, messages)
        if self._id is None:
            self._queue.append((topic, list(messages)))
        else:
            self._log.write(self._id, self._epoch, topic, messages)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Make everything sent since `begin` durable, with the group's positions."""
        if self._id is not None:
            self._log.commit(self._id, self._epoch, self._group, positions)
            return
        queue, self._queue = self._queue, []
        for topic, messages in queue:
            self._log.append(topic, messages)
        if self._group is not None:
            self._log.groups.setdefault(self._group, {}).update(positions)

    def abort(self) -> None:
        """Drop what was sent since `begin`."""
        self._queue.clear()
        if self._id is not None:
            self._log.abort(self._id, self._epoch)

    def max_bytes(self, topic: str) -> int:  # noqa: ARG002 - one limit for the whole log
        """Return how many bytes of key, value and headers together one message may have."""
        return self._log.max_bytes

    def close(self) -> None:
        """Leave an open transaction as a dead process would: the next holder of the id aborts it."""
