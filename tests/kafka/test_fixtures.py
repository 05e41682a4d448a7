"""The broker of the tests is a real one: it keeps what was committed through a crash, and makes topics as asked."""

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient


def read_all(address, topic, group):
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([topic])
    values = []
    while (message := consumer.poll(30)) is not None and message.error() is None:
        values.append(message.value())
    consumer.close()
    return values


def test_new_topic_has_what_was_asked_for(kafka, new_topic):
    name = new_topic("events", partitions=3, cleanup_policy="compact")
    assert name != new_topic("events")
    admin = AdminClient({"bootstrap.servers": kafka})
    assert len(admin.list_topics(name, timeout=30).topics[name].partitions) == 3


def test_only_committed_records_are_read(kafka, new_topic, fresh_name):
    topic = new_topic("journal")
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": fresh_name("writer")})
    producer.init_transactions(30)
    for value, finish in [(b"1", producer.commit_transaction), (b"2", producer.abort_transaction)]:
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(30)
        finish(30)
    assert read_all(kafka, topic, fresh_name("reader")) == [b"1"]


@pytest.mark.slow
@pytest.mark.parametrize("outage", ["stop", "kill"])
def test_a_broker_goes_on_with_what_was_written(own_broker, fresh_name, outage):
    producer = Producer({"bootstrap.servers": own_broker.address})
    producer.produce("made-by-use", b"before")
    producer.flush(30)
    getattr(own_broker, outage)()
    own_broker.start()
    producer.produce("made-by-use", b"after")
    producer.flush(30)
    assert read_all(own_broker.address, "made-by-use", fresh_name("reader")) == [b"before", b"after"]
