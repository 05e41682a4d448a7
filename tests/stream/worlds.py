"""One interface to make topics, readers and writers, over the log in memory and over real Kafka."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any, Protocol

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewPartitions

from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSource
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, Outlet, Record, Source, TopicPartition


class World(Protocol):
    """A log, and what a test does to it from outside."""

    max_bytes: int

    def topic(self, partitions: int = 1) -> str: ...
    def source(self, topics: Sequence[str], *, group: str | None = None, **options: Any) -> Source: ...
    def outlet(self, source: Source | None = None, *, transactional_id: str | None = None) -> Outlet: ...
    def put(self, topic: str, messages: Sequence[Message], partition: int = 0) -> None: ...
    def grow(self, topic: str, partitions: int) -> None: ...
    def truncate(self, tp: TopicPartition, before: int) -> None: ...
    def clock(self) -> int: ...
    def close(self) -> None: ...


class MemoryWorld:
    max_bytes = 1_000_000

    def __init__(self) -> None:
        self.log = MemoryLog(clock=self.clock, max_bytes=self.max_bytes)
        self.groups: dict[int, str | None] = {}

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{token_hex(4)}"
        self.log.create(name, partitions)
        return name

    def source(self, topics: Sequence[str], *, group: str | None = None, **options: Any) -> Source:
        source = MemorySource(self.log, topics, group=group, **options)
        self.groups[id(source)] = group
        return source

    def outlet(self, source: Source | None = None, *, transactional_id: str | None = None) -> Outlet:
        return MemoryOutlet(
            self.log, group=self.groups[id(source)] if source else None, transactional_id=transactional_id
        )

    def put(self, topic: str, messages: Sequence[Message], partition: int = 0) -> None:
        self.log.append(topic, messages, partition=partition)

    def grow(self, topic: str, partitions: int) -> None:
        self.log.create(topic, partitions)

    def truncate(self, tp: TopicPartition, before: int) -> None:
        self.log.truncate(tp, before)

    def clock(self) -> int:
        return time.time_ns() // 1_000_000

    def close(self) -> None:
        pass


class KafkaWorld:
    max_bytes = 1_000_000

    def __init__(self, address: str) -> None:
        self.address = address
        self.admin, self.client = (
            Admin(KafkaSettings(address)),
            AdminClient({"bootstrap.servers": address, "log_level": 0}),
        )
        self.producer = ck.Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})
        self.open: list[Callable[[], None]] = []

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{token_hex(4)}"
        self.admin.ensure([name], partitions)
        return name

    def source(self, topics: Sequence[str], *, group: str | None = None, **options: Any) -> Source:
        start = options.pop("start", "earliest")
        settings = KafkaSettings(self.address, group=group or f"group-{token_hex(4)}", start=start)
        source = KafkaSource(settings, topics, look_seconds=0.5, **options)
        self.open.append(source.close)
        return source

    def outlet(self, source: Source | None = None, *, transactional_id: str | None = None) -> Outlet:
        settings = KafkaSettings(self.address, transactional_id=transactional_id)
        assert source is None or isinstance(source, KafkaSource)
        outlet = KafkaOutlet(settings, source)
        self.open.append(outlet.close)
        return outlet

    def put(self, topic: str, messages: Sequence[Message], partition: int = 0) -> None:
        for value, key, headers in messages:
            self.producer.produce(topic, value, key, partition, headers=list(headers))
        assert self.producer.flush(10) == 0

    def grow(self, topic: str, partitions: int) -> None:
        self.client.create_partitions([NewPartitions(topic, partitions)])[topic].result(10)
        while self.admin.partitions_of(topic) < partitions:
            time.sleep(0.05)
        # The world's producer would refuse a partition that it has not heard of for minutes.
        self.producer = ck.Producer({"bootstrap.servers": self.address, "linger.ms": 0, "log_level": 0})

    def truncate(self, tp: TopicPartition, before: int) -> None:
        asked = ck.TopicPartition(tp.topic, tp.partition, before)
        next(iter(self.client.delete_records([asked]).values())).result(10)

    def clock(self) -> int:
        return time.time_ns() // 1_000_000

    def close(self) -> None:
        for close in reversed(self.open):
            with suppress(RuntimeError):  # closed by its test
                close()


def read_all(source: Source, seconds: float = 20.0) -> list[Record]:
    """Read to the end of every partition."""
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    while not source.at_end():
        assert time.monotonic() < deadline, f"not at the end: {source.positions()} of {source.bounds()}"
        records += source.poll(1000, 0.05)
    return records


def read_some(source: Source, count: int, seconds: float = 20.0) -> list[Record]:
    """Read this many records."""
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
        records += source.poll(count - len(records), 0.2)
    return records


def values(records: Sequence[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def numbered(count: int, *, first: int = 0, key: bytes | None = None) -> list[Message]:
    return [Message(b"%d" % i, key) for i in range(first, first + count)]


def at(topic: str, offsets: Mapping[int, int]) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
