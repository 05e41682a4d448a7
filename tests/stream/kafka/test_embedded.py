"""The embedded broker serves the source and the outlet at-least-once, within its limits, which this file pins down.

Where a limit falls with a newer librdkafka the test of it fails: then the docstring of `embedded.py` can say less.
"""

import time

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Offset

from streamlearn.core.errors import BrokerError, ConfigError, StreamlearnError
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSource, read
from streamlearn.stream.transport import Message
from tests.stream.worlds import at, numbered, read_all, read_some, values


@pytest.fixture
def broker():
    with EmbeddedBroker() as broker:
        broker.ensure_topics(["events", "predictions"])
        yield broker


@pytest.fixture
def settings(broker):
    return KafkaSettings(broker.bootstrap_servers, client=broker.client, group="g")


def test_the_service_reads_writes_and_goes_on_where_it_was(settings):
    source = KafkaSource(settings, ["events"])
    outlet = KafkaOutlet(settings, source, topics=["events", "predictions"])
    outlet.begin()
    outlet.send("events", [Message(b"%d" % i, b"k%d" % i, (("h", b"x"),) if i % 2 else ()) for i in range(100)])
    outlet.commit({})
    assert sum(source.lag().values()) == 0, "not seen yet: the lag is an estimate"
    records = read_all(source)
    assert sorted(int(r.value) for r in records) == list(range(100))
    assert all(bool(r.headers) == bool(int(r.value) % 2) and r.timestamp > 0 for r in records)
    assert {tp: end for tp, (_, end) in source.bounds().items()} == source.positions()

    outlet.begin()
    outlet.send("predictions", [Message(b"p", r.key) for r in records])
    outlet.commit(source.positions())
    assert source.committed() == source.positions()
    again = KafkaSource(settings, ["events"])
    assert again.positions() == source.positions()
    assert again.poll(10, 0) == []
    assert len(list(read(settings, "predictions", until_end=True))) == 100
    for each in (source, again, outlet):
        each.close()


def test_a_record_comes_soon(settings):
    source, outlet = KafkaSource(settings, ["events"]), KafkaOutlet(settings)
    read_all(source)
    start = time.monotonic()
    for _ in range(20):
        outlet.send("events", [Message(b"v", b"k")])
        outlet.commit({})
        read_some(source, 1)
    assert time.monotonic() - start < 8, "the broker would hold each record for 0.5 s without EmbeddedBroker.client"
    source.close()


def test_topics_are_made_with_four_partitions(settings, broker):
    admin = Admin(settings)
    assert admin.embedded
    assert admin.topics() == {"events": 4, "predictions": 4}
    assert admin.ensure(["events", "labels"], 7) == ["labels"]
    assert admin.partitions_of("labels") == 4
    broker.ensure_topics(["labels", "control"])
    assert admin.describe("control")[1:] == ("", 4, 1, {})


def test_a_reader_that_names_no_topic_makes_none(settings):
    with pytest.raises(ConfigError, match="did you mean 'events'"):
        KafkaSource(settings, ["event"])
    assert "event" not in Admin(settings).topics()


def test_the_largest_message_is_known_without_asking(settings):
    start = time.monotonic()
    assert KafkaOutlet(settings).max_bytes("events") == 1_000_000 - 512
    assert time.monotonic() - start < 2, "the broker never answers a question for settings"


def test_who_reads_too_slowly_is_told_what_was_lost(settings):
    source, outlet = KafkaSource(settings, ["events"]), KafkaOutlet(settings)
    for _ in range(30):
        outlet.send("events", [Message(b"x" * 500_000, b"k")])
        outlet.commit({})
    with pytest.raises(StreamlearnError, match="was deleted: the log begins at"):
        KafkaSource(settings, ["events"], positions=dict.fromkeys(source.positions(), 0))
    source.close()


def test_a_broker_that_is_gone_is_told():
    with EmbeddedBroker() as broker:
        address = broker.bootstrap_servers
    with pytest.raises(BrokerError, match="no Kafka broker answers within 1 s") as raised:
        KafkaSource(KafkaSettings(address, connect_timeout=1), ["events"])
    assert raised.value.where == address


def test_another_port_s_protocol_is_told(broker):
    settings = KafkaSettings(broker.bootstrap_servers, client={"security.protocol": "SSL"}, connect_timeout=1)
    with pytest.raises((ConfigError, BrokerError), match=r"security\.protocol"):
        KafkaSource(settings, ["events"])


# Its limits


def test_limit_it_shows_aborted_records_and_stores_no_offsets_of_transactions(broker, settings):
    source = KafkaSource(settings, ["events"])
    writer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "x"})
    writer.init_transactions(10)
    writer.begin_transaction()
    writer.produce("predictions", b"aborted")
    writer.flush(10)
    writer.abort_transaction(10)
    assert values(read(settings, "predictions", until_end=True)) == [b"aborted"]
    writer.begin_transaction()
    offsets = [Offset("events", 0, 5)]
    writer.send_offsets_to_transaction(offsets, source.group_metadata(), 10)
    writer.commit_transaction(10)
    assert source.committed() == {}
    source.close()


def test_limit_it_fences_nobody(broker):
    def writer():
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "x"})
        producer.init_transactions(10)
        return producer

    first, _ = writer(), writer()
    first.begin_transaction()
    first.produce("predictions", b"zombie")
    first.commit_transaction(10)


def test_limit_it_finds_no_offset_by_time(broker):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce("events", b"v", partition=0)
    producer.flush(10)
    (found,) = consumer.offsets_for_times([Offset("events", 0, 1)], 10)
    assert found.offset == -1
    consumer.close()


def test_seek_works(settings):
    source, outlet = KafkaSource(settings, ["events"]), KafkaOutlet(settings)
    outlet.send("events", numbered(10, key=b"k"))
    outlet.commit({})
    (place,) = {r.partition for r in read_all(source)}
    source.seek(at("events", {place: 7}))
    assert [r.offset for r in read_all(source)] == [7, 8, 9]
    source.close()
