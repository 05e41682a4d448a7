"""Measures the transport: `./dev bench transport [ADDRESS]`, on a Kafka broker that it starts, or at ADDRESS.

Prints, per record: the wall time and the processor time of the service's own thread, to send and to read; and, in
milliseconds, how long a single record takes to a waiting reader, and a commit of 64 predictions with the positions.
A plain loop of confluent-kafka (poll, produce) stands beside them.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex

import confluent_kafka as ck

from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSource
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message
from tests.kafka.broker import Broker

COUNT = 200_000
BATCH = 64
VALUE = b'{"id": "e123456", "text": "my card has not arrived yet, and it has been two weeks now: what do I do?"}'


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def timed(name: str, count: int) -> Iterator[None]:
    wall, own = time.perf_counter(), time.thread_time()
    yield
    wall, own = time.perf_counter() - wall, time.thread_time() - own
    say(f"  {name:<34}{wall / count * 1e6:8.2f} us a record, {own / count * 1e6:6.2f} us of it in this thread")


def single(name: str, call: Callable[[], object], times: int = 200) -> None:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1e3)
    took.sort()
    say(f"  {name:<34}{statistics.median(took):8.2f} ms p50, {took[int(times * 0.99)]:6.2f} ms p99")


def kafka(settings: KafkaSettings, count: int) -> None:
    topic, output = (f"bench-{token_hex(4)}" for _ in range(2))
    Admin(settings).ensure([topic, output], 3)
    messages = [Message(VALUE, b"e%d" % i) for i in range(count)]
    outlet = KafkaOutlet(settings)
    with timed("send", count):
        for i in range(0, count, BATCH):
            outlet.send(topic, messages[i : i + BATCH])
        outlet.commit({})
    with timed("send with a header", count // 4):
        for i in range(0, count // 4, BATCH):
            outlet.send(output, [m._replace(headers=(("reason", b"schema"),)) for m in messages[i : i + BATCH]])
        outlet.commit({})
    source = KafkaSource(settings, [topic])
    with timed(f"read by {BATCH}", count):
        left = count
        while left:
            left -= len(source.poll(BATCH, 1))
    plain(settings, topic, len(source.positions()), output, count)

    def round_trip() -> None:
        outlet.send(topic, messages[:1])
        outlet.commit({})
        while not source.poll(1, 1):
            pass

    single("a record to a waiting reader", round_trip)
    modes = {"at-least-once": settings}
    if not Admin(settings).embedded:
        modes["exactly-once"] = KafkaSettings(settings.bootstrap_servers, group=output, transactional_id=output)
    for name, each in modes.items():
        writer = KafkaOutlet(each, source)

        def publish(writer: KafkaOutlet = writer) -> None:
            writer.begin()
            writer.send(output, messages[:64])
            writer.commit(source.positions())

        publish()
        single(f"commit 64, {name}", publish)
        writer.close()
    source.close()
    outlet.close()


def plain(settings: KafkaSettings, topic: str, partitions: int, output: str, count: int) -> None:
    config = {"bootstrap.servers": settings.bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = ck.Consumer(config)
    consumer.assign([ck.TopicPartition(topic, i, 0) for i in range(partitions)])
    producer = ck.Producer({"bootstrap.servers": settings.bootstrap_servers})
    with timed("plain loop: poll, produce", count):
        left = count
        while left:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                left -= 1
                producer.poll(0)
                producer.produce(output, message.value(), message.key())
                if left % 50_000 == 0:
                    producer.flush()
    consumer.close()


def memory(count: int) -> None:
    log = MemoryLog()
    log.create("events", 3)
    messages = [Message(VALUE, b"e%d" % i) for i in range(count)]
    outlet, source = MemoryOutlet(log, transactional_id="x"), MemorySource(log, ["events"])
    with timed("send and commit", count):
        for i in range(0, count, BATCH):
            outlet.begin()
            outlet.send("events", messages[i : i + BATCH])
            outlet.commit({})
    with timed(f"read by {BATCH}", count):
        while source.poll(BATCH, 0):
            pass


def main() -> None:
    say("memory")
    memory(COUNT)
    say("embedded broker")
    with EmbeddedBroker() as broker:  # which keeps 5 MiB a partition
        broker.ensure_topics(["bench"])
        kafka(KafkaSettings(broker.bootstrap_servers, client=broker.client), COUNT // 10)
    say("Kafka")
    if len(sys.argv) > 1:
        kafka(KafkaSettings(sys.argv[1]), COUNT)
        return
    own = Broker()
    own.start()
    try:
        kafka(KafkaSettings(own.address), COUNT)
    finally:
        own.remove()


if __name__ == "__main__":
    main()
