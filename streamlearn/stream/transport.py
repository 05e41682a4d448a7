"""The three protocols between the service and a log of records, and the order in which a batch is taken.

A transport is anything that keeps records in topics and partitions: `kafka` (Apache Kafka), `embedded` (the broker
inside confluent-kafka) and `memory` (this process). None of this needs torch.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol, cast

from streamlearn.core.errors import StreamlearnError
from streamlearn.core.tuples import unchecked

_partition_of = itemgetter(0, 1)
_pack = struct.Struct(">qii").pack

Headers = Sequence[tuple[str, bytes | None]]
Start = Literal["earliest", "latest"] | datetime


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that it stands in."""
        return TopicPartition(self.topic, self.partition)


class Record(NamedTuple):
    """A record as it stands in the log. `timestamp` is in milliseconds since 1970, -1 where the log has none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that it stands in."""
        return _topic_partition(self[:2])

    @property
    def place(self) -> Place:
        """Where it stands."""
        return _place(self[:3])


class Message(NamedTuple):
    """A record to be written. The transport chooses the partition by the key."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class Range(NamedTuple):
    """The records that a batch took from one partition: `start` <= offset < `next`.

    `count` may be less than `next - start`, since transactions and compaction leave gaps. `digest` is the SHA-256 (hex)
    over each record's offset, key and value in order: whoever reads the range again can prove it is the same.
    """

    topic: str
    partition: int
    start: int
    next: int
    count: int  # type: ignore[assignment]  # the field hides tuple.count, which nobody calls on a range
    digest: str

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that they were taken from."""
        return TopicPartition(self.topic, self.partition)


_topic_partition = unchecked(TopicPartition)
_place = unchecked(Place)


class Source(Protocol):
    """Reads all partitions of its topics, each in order of its offsets; only committed records."""

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return up to `max_records` that are there now; wait up to `timeout` seconds for the first one."""
        ...

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each assigned partition.

        At the end of a partition this is past the markers of transactions, which are offsets without a record.
        """
        ...

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; the other partitions stay where they are."""
        ...

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Ask the log for the first offset of each assigned partition, and for its last stable offset.

        Raises:
            BrokerError: the log does not answer.
        """
        ...

    def committed(self) -> dict[TopicPartition, int]:
        """Ask the log for the group's committed offsets; partitions without one are left out.

        Raises:
            BrokerError: the log does not answer.
        """
        ...

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many records each partition holds beyond the source's position (an estimate)."""
        ...

    def stalled(self) -> set[TopicPartition]:
        """Return the partitions that have records and give none."""
        ...

    def at_end(self) -> bool:
        """Ask the log whether every partition was read to its last stable offset. False where it does not answer."""
        ...

    def close(self) -> None:
        """Leave the log."""
        ...


class Sink(Protocol):
    """Writes records, in order per key."""

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Queue the messages. They count once `commit` has returned."""
        ...


class Transaction(Protocol):
    """What was sent and the positions of the source become visible together, or not at all.

    An at-least-once implementation keeps the same order (flush, then commit the positions, without waiting for that): a
    crash between the two repeats what was sent, and loses nothing.
    """

    def begin(self) -> None:
        """Open a transaction."""
        ...

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Make everything sent since `begin` durable, with the positions to go on from.

        Raises:
            FencedError: another producer with the same transactional id took over.
            TransactionAbortedError: nothing of it counts; seek back and take the batch again.
            BrokerError: the outcome is a failure, or is not known.
        """
        ...

    def abort(self) -> None:
        """Drop what was sent since `begin`, where the log can."""
        ...


class Outlet(Sink, Transaction, Protocol):
    """A sink with its transaction."""

    @property
    def transactional(self) -> bool:
        """Whether what is committed together becomes visible together."""
        ...

    def max_bytes(self, topic: str) -> int:
        """Return how many bytes of key, value and headers together the topic takes in one message."""
        ...

    def close(self) -> None:
        """Release the producer without committing."""
        ...


def canonical(records: Iterable[Record], topics: Sequence[str]) -> list[Record]:
    """Sort a batch into the one order in which it is learned, however the log interleaved its partitions.

    Topics come in the order given (events, then labels), within a topic by partition and offset. A
    transport returns the records of one partition in order, so only the partitions are sorted.
    """
    rank = {topic: i for i, topic in enumerate(topics)}
    parts = by_partition(records)
    return list(chain.from_iterable(parts[tp] for tp in sorted(parts, key=lambda tp: (rank[tp.topic], tp))))


def ranges(records: Sequence[Record]) -> list[Range]:
    """Describe a batch in canonical order: one range per partition, with count and digest."""
    return [
        Range(*tp, part[0].offset, part[-1].offset + 1, len(part), _digest(part))
        for tp, part in by_partition(records).items()
    ]


def places(positions: Mapping[TopicPartition, int]) -> tuple[Place, ...]:
    """Return positions as the journal has them, by partition."""
    return tuple(Place(*tp, offset) for tp, offset in sorted(positions.items()))


def offsets(positions: Iterable[Sequence[Any]]) -> dict[TopicPartition, int]:
    """Return the next offset of each partition, of what `places` returned or JSON made of that."""
    return {TopicPartition(topic, partition): offset for topic, partition, offset in positions}


def by_partition(records: Iterable[Record]) -> dict[TopicPartition, list[Record]]:
    """Part the records by partition, without changing their order."""
    parts: dict[TopicPartition, list[Record]] = {}
    for place, run in groupby(records, _partition_of):  # a log gives many of one partition in a row
        parts.setdefault(TopicPartition(*place), []).extend(run)
    return parts


def _digest(records: Sequence[Record]) -> str:
    _, _, offsets, keys, values, _, _ = zip(*records, strict=True)
    key_sizes, key_bytes = _sized(keys)
    value_sizes, value_bytes = _sized(values)
    heads = map(_pack, offsets, key_sizes, value_sizes)
    pieces = chain.from_iterable(zip(heads, key_bytes, value_bytes, strict=True))
    return hashlib.sha256(b"".join(pieces)).hexdigest()  # one call: each costs more than the bytes of a record


def _sized(column: Sequence[bytes | None]) -> tuple[Iterable[int], Iterable[bytes]]:
    if None in column:
        return [-1 if each is None else len(each) for each in column], [each or b"" for each in column]
    there = cast("Sequence[bytes]", column)
    return map(len, there), there


def lost(tp: TopicPartition, offset: int, low: int, high: int) -> StreamlearnError:
    """Say that the log, which holds `low` <= offset < `high`, does not hold the next record to read."""
    if offset < low:
        return StreamlearnError(
            f"the next record to read, offset {offset}, was deleted: the log begins at {low}, "
            f"so {low - offset} offsets are gone that were never read",
            where=str(tp),
            mend="raise the topic's `retention.ms` and `retention.bytes`; "
            "to go on with what is left, set `recovery.accept_loss: true`",
        )
    return StreamlearnError(
        f"the next record to read, offset {offset}, is past the log's end at {high}: "
        "the topic was made anew, or its broker lost records",
        where=str(tp),
        mend="give the learner a new `name` where the topic was made anew on purpose; "
        "to go on with what is there, set `recovery.accept_loss: true`",
    )


def deleted(tp: TopicPartition, offset: int) -> StreamlearnError:
    """Say that a topic was deleted under its reader."""
    return StreamlearnError(
        f"the topic was deleted while it was read; the next offset was {offset}",
        where=str(tp),
        mend="if it was made anew on purpose, give the learner a new `name`",
    )
