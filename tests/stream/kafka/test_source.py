"""What reading and writing real Kafka promises beyond the contract, and what it tells when things go wrong.

A user's mistake (address, topic, property, size) is one message with the mend; secrets stay out of every message; a
broker that goes away is waited for and told once; nothing that was deleted under a reader goes unnoticed; a signal
is served while waiting for records.
"""

import json
import logging
import signal
import threading
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streamlearn.core.errors import BrokerError, ConfigError, FencedError, StreamlearnError
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import OWNED, KafkaSettings, Watch, translate
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSource, read
from streamlearn.stream.transport import Message, TopicPartition
from tests.core.test_secrets import LOOKS_SECRET, SECRET
from tests.kafka.helpers import until
from tests.stream.worlds import at, numbered, read_all, read_some, values

NOBODY = "127.0.0.1:9"  # the port of a service that no machine runs any more


@pytest.fixture
def settings(kafka, fresh_name):
    return KafkaSettings(kafka, group=fresh_name("group"))


@pytest.fixture
def outlet(settings):
    outlet = KafkaOutlet(settings)
    yield outlet
    outlet.close()


@pytest.fixture
def source_of(settings):
    sources = []

    def make(*topics, **options):
        sources.append(KafkaSource(settings, topics, **options))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def delete(address, topic):
    client = AdminClient({"bootstrap.servers": address})
    client.delete_topics([topic])[topic].result(10)


def put(outlet, topic, messages):
    outlet.begin()
    outlet.send(topic, messages)
    outlet.commit({})


# Settings


@pytest.mark.parametrize("name", OWNED)
def test_what_a_promise_hangs_on_cannot_be_set(name):
    with pytest.raises(ConfigError, match=name) as raised:
        KafkaSettings(NOBODY, client={name: "x"})
    assert raised.value.where == "kafka.client"
    assert raised.value.mend


def test_a_property_that_is_unknown_is_told():
    with pytest.raises(ConfigError, match=r'No such configuration property: "compresion\.type"'):
        KafkaSource(KafkaSettings(NOBODY, client={"compresion.type": "lz4"}), ["events"])


@pytest.mark.parametrize("name", SECRET + LOOKS_SECRET)
def test_a_log_line_of_librdkafka_holds_no_secret(name, caplog):
    caplog.set_level(logging.DEBUG, logger="streamlearn")
    Watch(KafkaSettings(NOBODY, client={name: "s3cr3t"}), "reading").log(
        logging.WARNING, "%s: %s", "CONF", "its s3cr3t"
    )
    assert "its [hidden]" in caplog.text


def test_secrets_are_never_shown(caplog):
    caplog.set_level(logging.DEBUG, logger="streamlearn")
    secrets = {"sasl.password": "s3cr3t", "ssl.key.password": "s3cr3t2", "sasl.jaas.config": "s3cr3t3"}
    settings = KafkaSettings(NOBODY, client=secrets, connect_timeout=0.1)
    text = repr(settings) + settings.hide("s3cr3t, s3cr3t2, s3cr3t3")
    text += str(translate(KafkaError(KafkaError._AUTHENTICATION, "no s3cr3t2 here"), "here", settings))
    with pytest.raises(ConfigError) as raised:
        KafkaSource(settings, ["events"])  # a property of Java's that librdkafka does not know
    text += str(raised.value)
    watch = Watch(settings, "reading")
    watch.log(logging.WARNING, "%s [%s] %s", "X", "client", "got s3cr3t")
    watch.error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "with s3cr3t3"))
    assert "s3cr3t" not in text + caplog.text
    assert "[hidden]" in text


# The first contact


@pytest.mark.parametrize("make", [lambda s: KafkaSource(s, ["events"]), KafkaOutlet, Admin])
def test_an_address_where_nobody_answers_is_told(make, capfd):
    start = time.monotonic()
    with pytest.raises(BrokerError, match=r"no Kafka broker answers within 0\.5 s .*refused") as raised:
        make(KafkaSettings(NOBODY, connect_timeout=0.5))
    assert time.monotonic() - start < 5
    assert raised.value.where == NOBODY
    assert "check that the broker runs" in raised.value.mend
    assert capfd.readouterr().err == "", "librdkafka's lines go to Python's logging"


def test_a_missing_topic_is_told_with_the_nearest_one(settings, new_topic):
    topic = new_topic("support-tickets")
    with pytest.raises(ConfigError) as raised:
        KafkaSource(settings, [topic[:-1]])
    assert f"the topic '{topic[:-1]}' does not exist" in raised.value.what
    assert f"did you mean '{topic}'?" in raised.value.mend
    assert "--create --topic" in raised.value.mend


# Reading


def test_a_signal_is_served_while_waiting(source_of, new_topic):
    source = source_of(new_topic("events"))
    served = []
    before = signal.signal(signal.SIGUSR1, lambda *_: served.append(time.monotonic()))
    try:
        timer = threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGUSR1))
        timer.start()
        source.poll(10, 3.0)
        ended = time.monotonic()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended - served[0] > 1, "served long before the poll ended"


def test_a_topic_that_is_deleted_under_its_reader_is_told(kafka, outlet, source_of, new_topic):
    topic = new_topic("events")
    put(outlet, topic, numbered(3))
    source = source_of(topic, look_seconds=0.3)
    read_all(source)
    delete(kafka, topic)
    with pytest.raises(StreamlearnError, match="deleted while it was read; the next offset was 3"):
        read_some(source, 1)


def test_a_topic_that_is_made_anew_under_its_reader_is_told(kafka, settings, source_of, outlet, new_topic):
    topic, admin = new_topic("events"), Admin(settings)
    put(outlet, topic, numbered(3))
    source = source_of(topic)
    read_all(source)
    delete(kafka, topic)
    while topic in admin.topics():
        time.sleep(0.05)
    admin.ensure([topic], 1)
    with pytest.raises(StreamlearnError, match=r"deleted while it was read|past the log's end at 0"):
        read_some(source, 1)


def test_a_stalled_partition_is_told_once_and_asked_again(outlet, source_of, new_topic, caplog):
    topic = new_topic("events")
    put(outlet, topic, numbered(3))
    source = source_of(topic, stall_seconds=1)
    source._consumer.unassign()  # as if librdkafka had lost sight of it
    assert source.stalled() == set()
    seen = set()
    records = []
    for _ in range(100):
        records += source.poll(10, 0.1)
        seen |= source.stalled()
        if records and not source.stalled():
            break
    assert values(records) == [b"0", b"1", b"2"]
    assert seen == {TopicPartition(topic, 0)}
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"{topic}[0] gives no record since 1 s, though 3 offsets wait at 0; asking again"]


def test_reading_a_topic_needs_no_group(settings, outlet, new_topic):
    topic = new_topic("events", partitions=2)
    put(outlet, topic, numbered(10))
    assert sorted(values(read(settings, topic, until_end=True))) == sorted(b"%d" % i for i in range(10))
    latest = read(KafkaSettings(settings.bootstrap_servers, start="latest"), topic, until_end=True)
    assert list(latest) == []
    later = datetime.now(UTC).replace(year=2100)
    assert list(read(KafkaSettings(settings.bootstrap_servers, start=later), topic, until_end=True)) == []


def test_offsets_are_stored_once_the_source_is_closed(settings, outlet, new_topic):
    topic = new_topic("events")
    put(outlet, topic, numbered(20))
    source = KafkaSource(settings, [topic])
    for offset in range(20):
        source.commit(at(topic, {0: offset}))
    source.close()
    again = KafkaSource(settings, [topic])
    assert again.positions() == at(topic, {0: 19})
    again.close()


def test_a_group_of_others_is_told_once_and_refused(settings, source_of, new_topic, caplog):
    topic = new_topic("events")
    source = source_of(topic)
    other = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": settings.group})
    other.subscribe([topic])
    until(lambda: other.poll(0.1) or other.assignment(), 30)
    for _ in range(3):
        source.commit(at(topic, {0: 0}))
    with pytest.raises(ConfigError, match="in use by consumers that subscribe"):
        until(lambda: source.poll(1, 0.1) or source.commit(at(topic, {0: 0})), 30)
    other.close()
    assert len([record for record in caplog.records if "offsets were not stored" in record.getMessage()]) == 1


def test_what_a_commit_met_in_passing_is_made_good_by_the_next(settings, source_of, new_topic):
    topic = new_topic("events")
    source = source_of(topic)
    source._stored(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE), [])
    source.commit(at(topic, {0: 0}))
    assert source.committed() == at(topic, {0: 0})


def test_statistics_of_other_topics_and_partitions_do_no_harm(source_of, new_topic):
    topic = new_topic("events")
    source = source_of(topic)
    brokers = {"b": {"state": "UP", "nodeid": 1, "connects": 1}}
    partition = {"ls_offset": -1001}
    source._statistics(json.dumps({"brokers": brokers, "topics": {"else": {"partitions": {"0": partition}}}}))
    source._statistics(json.dumps({"brokers": {}, "topics": {topic: {"partitions": {"-1": partition}}}}))
    assert source.poll(1, 0) == []
    assert source.positions() == at(topic, {0: 0})


# Writing


def test_keys_go_where_java_clients_send_them(settings, outlet, new_topic):
    topic = new_topic("events", partitions=12)
    put(outlet, topic, [Message(key, key) for key in (b"21", b"foobar", b"a-little-bit-long-string")])
    # From the reference values of Kafka's own tests of murmur2: the hash without its sign bit, modulo 12.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    expected = {key: (value & 0x7FFFFFFF) % 12 for key, value in hashes.items()}
    assert {r.key: r.partition for r in read(settings, topic, until_end=True)} == expected


def test_batches_fit_a_topic_that_takes_small_messages(settings, new_topic):
    topic = new_topic("events", max_message_bytes="20000")
    outlet = KafkaOutlet(settings, topics=[topic])
    assert outlet.max_bytes(topic) == 20_000 - 512
    put(outlet, topic, [Message(b"x" * 1000, b"k")] * 200)
    outlet.close()
    assert len(list(read(settings, topic, until_end=True))) == 200


@pytest.mark.parametrize("transactional", [False, True])
def test_a_message_that_the_topic_does_not_take_is_told(kafka, new_topic, fresh_name, transactional):
    topic = new_topic("events", max_message_bytes="20000")
    settings = KafkaSettings(kafka, transactional_id=fresh_name("x") if transactional else None)
    outlet = KafkaOutlet(settings)
    outlet.begin()
    outlet.send(topic, [Message(b"x" * 30_000)])
    with pytest.raises(
        StreamlearnError, match=r"1 messages were not delivered: .*larger than the topic takes"
    ) as raised:
        outlet.commit({})
    assert raised.value.exit_code == 1
    assert raised.value.where == f"the topic '{topic}'"
    assert "max.message.bytes" in raised.value.mend
    outlet.close()
    assert list(read(settings, topic, until_end=True)) == []


def test_a_full_queue_is_waited_for_and_keeps_the_order(kafka, settings, new_topic):
    topic = new_topic("events")
    small = KafkaSettings(kafka, client={"queue.buffering.max.messages": 10, "linger.ms": 0})
    outlet = KafkaOutlet(small)
    put(outlet, topic, [*numbered(500, key=b"k"), Message(b"500", b"k", (("h", b"x"),))])
    outlet.close()
    assert values(read(settings, topic, until_end=True)) == [b"%d" % i for i in range(501)]


def test_at_least_once_drops_what_has_not_left_at_an_abort(settings, outlet, new_topic):
    topic = new_topic("events")
    outlet.begin()
    outlet.abort()
    put(outlet, topic, numbered(1))
    assert values(read(settings, topic, until_end=True)) == [b"0"]


def test_a_fenced_outlet_is_told_at_every_call_and_closes(kafka, new_topic, fresh_name):
    topic = new_topic("events")
    settings = KafkaSettings(kafka, transactional_id=fresh_name("x"))
    first = KafkaOutlet(settings)
    put(first, topic, numbered(1))
    second = KafkaOutlet(settings)
    with pytest.raises(FencedError, match=settings.transactional_id):
        put(first, topic, numbered(1))
    with pytest.raises(FencedError):
        put(first, topic, numbered(1))
    first.close()
    put(second, topic, numbered(1, first=1))
    second.close()
    assert values(read(settings, topic, until_end=True)) == [b"0", b"1"]


def test_an_abort_that_finds_no_transaction_is_one(kafka, new_topic, fresh_name, monkeypatch):
    refused = []

    class Overtaken(Producer):
        """Its first abort overtakes the request that opens the transaction at the coordinator."""

        def abort_transaction(self, timeout):
            if refused:
                super().abort_transaction(timeout)
            else:
                refused.append(self)
                raise KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, fatal=True))

    monkeypatch.setattr("confluent_kafka.Producer", Overtaken)
    topic = new_topic("events")
    settings = KafkaSettings(kafka, transactional_id=fresh_name("x"))
    outlet = KafkaOutlet(settings)
    put(outlet, topic, numbered(1))
    for number in (10, 20):
        outlet.begin()
        outlet.send(topic, numbered(1, first=number))
        outlet.abort()
        assert refused
    put(outlet, topic, numbered(1, first=1))
    outlet.close()
    assert values(read(settings, topic, until_end=True)) == [b"0", b"1"]


def test_an_abort_straight_after_a_commit_is_no_error(kafka, new_topic, fresh_name):
    topic = new_topic("events")
    settings = KafkaSettings(kafka, transactional_id=fresh_name("x"))
    outlet = KafkaOutlet(settings)
    for number in range(50):
        put(outlet, topic, numbered(1, first=number))
        outlet.begin()
        outlet.send(topic, numbered(3, first=100))
        outlet.abort()
    outlet.close()
    assert values(read(settings, topic, until_end=True)) == [b"%d" % i for i in range(50)]


def test_closing_aborts_an_open_transaction(kafka, new_topic, fresh_name):
    topic = new_topic("events")
    settings = KafkaSettings(kafka, transactional_id=fresh_name("x"))
    outlet = KafkaOutlet(settings)
    outlet.begin()
    outlet.send(topic, numbered(3))
    outlet.close()
    assert list(read(settings, topic, until_end=True)) == []


# Administration


def test_topics_are_made_once_and_described(settings, fresh_name):
    admin, topic = Admin(settings), fresh_name("journal")
    assert admin.ensure([topic], 3, {"cleanup.policy": "delete", "retention.ms": "-1"}) == [topic]
    assert admin.ensure([topic], 5) == []
    assert admin.partitions_of(topic) == admin.topics()[topic] == 3
    info = admin.describe(topic)
    assert (info.name, info.partitions, info.replicas) == (topic, 3, 1)
    assert len(info.id) > 20
    assert info.config["retention.ms"] == "-1"
    assert info.config["max.message.bytes"].isdigit()
    admin.close()


def test_two_that_make_the_same_topic_do_not_meet(settings, fresh_name):
    topic = fresh_name("journal")
    made = []
    threads = [threading.Thread(target=lambda: made.append(Admin(settings).ensure([topic], 1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4


def test_topic_settings_that_the_broker_refuses_are_told(settings, fresh_name):
    with pytest.raises(StreamlearnError, match="creating the topic"):
        Admin(settings).ensure([fresh_name("journal")], 1, {"no.such.setting": "1"})


def test_a_topic_that_is_not_there_is_told(settings):
    for ask in (Admin(settings).partitions_of, Admin(settings).describe):
        with pytest.raises(ConfigError, match="'no-such-topic' does not exist"):
            ask("no-such-topic")


# Outages


def test_a_broker_that_goes_away_is_told_once(caplog):
    caplog.set_level(logging.INFO, logger="streamlearn")
    watch = Watch(KafkaSettings(NOBODY), "reading")
    watch.answered()
    for _ in range(100):
        watch.log(logging.ERROR, "%s [%s] %s", "FAIL", "client", "connection refused")
        watch.error(KafkaError(KafkaError._TRANSPORT, "connection refused"))
        watch.error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert watch.away
    watch.answered()
    assert not watch.away
    assert [r.getMessage() for r in caplog.records] == [
        f"reading: a broker of {NOBODY} does not answer; trying again (connection refused)",
        f"reading: the brokers of {NOBODY} answer",
    ]


def test_a_connection_that_is_lost_for_a_moment_is_not_told(caplog):
    watch = Watch(KafkaSettings(NOBODY), "reading")
    watch.error(KafkaError(KafkaError._TRANSPORT, "disconnected"))
    assert caplog.records == []


def test_a_refusal_that_lasts_is_an_error(caplog):
    watch = Watch(KafkaSettings(NOBODY), "reading")
    watch.answered()
    watch.error(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    watch.check()
    with pytest.raises(ConfigError, match="wrong password") as raised:
        watch.check(grace=0)
    assert "sasl" in raised.value.mend
    watch.answered()
    watch.check(grace=0)
    assert ["refuses us" in r.getMessage() for r in caplog.records] == [True]


def test_lines_that_matter_are_logged_and_those_for_the_other_client_are_not(caplog):
    watch = Watch(KafkaSettings(NOBODY), "reading")
    watch.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "c", "linger.ms ... will be ignored by this consumer instance")
    watch.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "c", "enable.x is deprecated")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("streamlearn.kafka", "CONFWARN [c] enable.x is deprecated")
    ]


@pytest.mark.parametrize(
    ("code", "kind", "mend"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigError, "ACL"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ConfigError, "ACL"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, ConfigError, "sasl"),
        (KafkaError._SSL, ConfigError, "ssl"),
        (KafkaError.ILLEGAL_GENERATION, ConfigError, "another `name`"),
        (KafkaError.PRODUCER_FENCED, FencedError, "do not restart"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, StreamlearnError, "doctor"),
        (KafkaError.RECORD_LIST_TOO_LARGE, StreamlearnError, "message.max.bytes"),
        (KafkaError.REQUEST_TIMED_OUT, BrokerError, "restart"),
    ],
)
def test_every_error_says_where_and_how_to_mend_it(code, kind, mend):
    error = translate(KafkaError(code), "somewhere", KafkaSettings(NOBODY))
    assert type(error) is kind
    assert error.where == "somewhere"
    assert mend in error.mend


@pytest.mark.slow
@pytest.mark.parametrize("outage", ["stop", "kill"])
def test_reading_goes_on_when_the_broker_is_back(own_broker, caplog, outage):
    caplog.set_level(logging.INFO, logger="streamlearn")
    settings = KafkaSettings(own_broker.address)
    Admin(settings).ensure(["events"], 2)
    outlet = KafkaOutlet(settings, commit_timeout=2)
    put(outlet, "events", numbered(10))
    source = KafkaSource(settings, ["events"])
    assert len(read_all(source)) == 10
    getattr(own_broker, outage)()
    for _ in range(30):
        assert source.poll(10, 0.1) == []
    assert not source.at_end()
    start = time.monotonic()
    with pytest.raises(BrokerError):
        put(outlet, "events", numbered(1))
    assert time.monotonic() - start < 20, "an outage is told, not waited out"
    told = [r.getMessage() for r in caplog.records if "reading: a broker" in r.getMessage()]
    assert len(told) == 1

    own_broker.start()
    start = time.monotonic()
    writer = KafkaOutlet(settings)
    put(writer, "events", numbered(10, first=10))
    found = set()  # and perhaps what was told to have failed: it may have waited in the first writer
    until(lambda: found.update(int(r.value) for r in source.poll(10, 0.1)) or found - {0} >= set(range(10, 20)), 15)
    assert found - {0} == set(range(10, 20))
    assert time.monotonic() - start < 15
    assert source.stalled() == set()
    until(lambda: source.poll(1, 0.1) or "reading: the brokers of" in caplog.text, 10)
    for each in (source, outlet, writer):
        each.close()


@pytest.mark.slow
def test_a_transaction_that_the_broker_did_not_confirm_is_an_error(own_broker):
    settings = KafkaSettings(own_broker.address, transactional_id="x")
    Admin(settings).ensure(["events"], 1)
    outlet = KafkaOutlet(settings, commit_timeout=3)
    put(outlet, "events", numbered(1))
    outlet.begin()
    outlet.send("events", numbered(1, first=1))
    own_broker.kill()
    with pytest.raises(BrokerError):
        outlet.commit({})
    outlet.close()
    own_broker.start()
    again = KafkaOutlet(settings)
    put(again, "events", numbered(1, first=2))
    again.close()
    assert values(read(settings, "events", until_end=True)) in ([b"0", b"2"], [b"0", b"1", b"2"])
