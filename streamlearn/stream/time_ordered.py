"""Reads ahead, so that a backlog comes in the order in which it was written and not one partition after the other."""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from streamlearn.core.errors import StreamlearnError
from streamlearn.stream.transport import Record, Source, TopicPartition

PATIENCE = 0.5  # seconds that a partition which has records is waited for
AGAIN = 10.0  # and after which it is waited for again, if none came
CHUNK = 500  # records that are read at once


class TimeOrdered:
    """A source that gives the earliest records of all partitions first, as far as it can look ahead.

    A broker sends one partition's records in a row: behind by a week, a learner would get days of one of them before
    the first record of the next, and take that for drift. Within a partition the order stays: a time that steps back
    there counts as the latest one before it, and one that lies ahead of the clock as now. Where fewer records are there
    than are asked for, nothing is held back.

    Args:
        source: what is read.
        room: records that are read ahead at most; 0 gives them as they come.
        room_bytes: of their values; with this many no more are read.
        clock: in seconds, for patience alone.
        now: seconds since 1970.
    """

    def __init__(
        self,
        source: Source,
        room: int,
        room_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._room, self._room_bytes, self._clock, self._now = source, room, room_bytes, clock, now
        self._held: dict[TopicPartition, deque[tuple[int, Record]]] = {}  # each with the time that counts
        self._latest: dict[TopicPartition, int] = {}  # the time of the last record that was read of each
        self._count = self._bytes = 0
        self._first: dict[TopicPartition, int] = {}  # the offset of the first record held: a new dict with every change
        self._missed: dict[TopicPartition, float] = {}  # when it was last waited for in vain
        self._ahead: list[Record] = []  # read, and not looked at yet: a new list with every change
        self._failure: StreamlearnError | None = None  # told once all that was read is given

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return up to `max_records`, the earliest first; wait up to `timeout` seconds for the first one.

        1. Read what is there, as far as there is room.
        2. With more than is asked for, wait a moment for partitions that have records, and none of them here.
        3. Give the earliest.
        """
        if not self._count and (not self._room or len(self._source.positions()) < 2):
            return self._fetch(max_records, timeout)
        room = max(self._room, max_records)
        while self._has(room):  # 1
            asked = min(max(CHUNK, max_records), room - self._count)
            if self._read(asked, 0.0 if self._count else timeout) < asked:
                break
        if self._count > max_records:
            self._wait(room)  # 2
        taken = self._take(max_records)  # 3
        self._first = {tp: held[0][1].offset for tp, held in self._held.items()}
        return taken

    def look_ahead(self, max_records: int) -> None:
        """Read up to `max_records` of what is there now, for the next poll; a failure is told by that one."""
        if self._failure is None and (room := max_records - self._count - len(self._ahead)) > 0:
            try:
                self._ahead = [*self._ahead, *self._source.poll(room, 0.0)]
            except StreamlearnError as error:
                self._failure = error

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each partition that was not given yet."""
        ahead = {record.topic_partition: record.offset for record in reversed(self._ahead)}
        return {**self._source.positions(), **ahead, **self._first}  # asked for by other threads too

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; the other partitions stay where they are."""
        for tp in positions:
            gone = [record for _, record in self._held.pop(tp, ())]
            self._count -= len(gone)
            self._bytes -= sum(map(_size, gone))
            self._latest.pop(tp, None)
        self._first = {tp: held[0][1].offset for tp, held in self._held.items()}
        self._ahead = [record for record in self._ahead if record.topic_partition not in positions]
        self._failure = None
        self._source.seek(positions)

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """See `Source`."""
        return self._source.bounds()

    def committed(self) -> dict[TopicPartition, int]:
        """See `Source`."""
        return self._source.committed()

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many records each partition holds beyond what was given (an estimate)."""
        held, ahead = self._held.copy(), Counter(record.topic_partition for record in self._ahead)
        return {tp: lag + len(held.get(tp, ())) + ahead[tp] for tp, lag in self._source.lag().items()}

    def stalled(self) -> set[TopicPartition]:
        """See `Source`."""
        return self._source.stalled()

    def at_end(self) -> bool:
        """Ask the log whether every partition was read to its last stable offset, and all of it was given."""
        return not (self._count or self._ahead) and self._source.at_end()

    def close(self) -> None:
        """Leave the log."""
        self._source.close()

    def _fetch(self, most: int, timeout: float) -> list[Record]:
        """Return what was read ahead and what is there, or raise what failed where that is nothing."""
        records, self._ahead = self._ahead[:most], self._ahead[most:]
        if len(records) < most and self._failure is None:
            try:
                records += self._source.poll(most - len(records), 0.0 if records else timeout)
            except StreamlearnError as error:
                self._failure = error
        if self._failure is not None and not records:
            failure, self._failure = self._failure, None
            raise failure
        return records

    def _read(self, most: int, timeout: float) -> int:
        """Hold what comes, and return how many records that are; a failure waits until what is held was given."""
        try:
            records = self._fetch(most, timeout)
        except StreamlearnError as error:
            if not self._count:
                raise
            self._failure = error
            return 0
        now = int(self._now() * 1000)
        for record in records:
            tp = record.topic_partition
            at = self._latest[tp] = max(min(record.timestamp, now), self._latest.get(tp, -1))
            self._held.setdefault(tp, deque()).append((at, record))
        self._count += len(records)
        self._bytes += sum(map(_size, records))
        return len(records)

    def _has(self, room: int) -> bool:
        return self._count < room and self._bytes < self._room_bytes

    def _wait(self, room: int) -> None:
        now = self._clock()
        deadline = now + PATIENCE
        while self._has(room) and (missing := self._missing(now)):
            left = deadline - self._clock()
            if left <= 0:
                self._missed.update(dict.fromkeys(missing, now))
                return
            self._read(min(CHUNK, room - self._count), left)

    def _missing(self, now: float) -> list[TopicPartition]:
        return [
            tp
            for tp, lag in self._source.lag().items()
            if lag and tp not in self._held and now - self._missed.get(tp, -AGAIN) >= AGAIN
        ]

    def _take(self, most: int) -> list[Record]:
        heads = [(held[0][0], tp) for tp, held in self._held.items()]
        heapq.heapify(heads)
        taken: list[Record] = []
        while heads and len(taken) < most:
            tp = heads[0][1]
            held = self._held[tp]
            taken.append(held.popleft()[1])
            if held:
                heapq.heapreplace(heads, (held[0][0], tp))
            else:
                heapq.heappop(heads)
                del self._held[tp]
        self._count -= len(taken)
        self._bytes -= sum(map(_size, taken))
        return taken


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")
