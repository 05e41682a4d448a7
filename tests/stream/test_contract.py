"""What the service may rely on, whichever log it reads and writes: in memory and on real Kafka alike.

Reading: the records of a partition come in the order of their offsets and as they were written; a poll returns what
is there and waits no longer than it was told; positions can be sought, stored for a group and taken up again; a
reader begins where it was told, finds partitions that are added, and is told when what it wanted is gone.

Writing: what was sent counts once `commit` has returned, together with the positions; an aborted transaction is never
seen, an open one holds readers back, and a second holder of a transactional id fences the first.
"""

import time
from datetime import UTC, datetime

import pytest

from streamlearn.core.errors import ConfigError, FencedError, StreamlearnError
from streamlearn.stream.transport import Message, TopicPartition, canonical, ranges
from tests.stream.worlds import KafkaWorld, MemoryWorld, World, at, numbered, read_all, read_some, values


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def world(request):
    world = MemoryWorld() if request.param == "memory" else KafkaWorld(request.getfixturevalue("kafka"))
    yield world
    world.close()


# Reading


def test_records_come_as_they_were_written(world: World):
    topic, before = world.topic(), world.clock()
    headers = (("reason", b"schema"), ("reason", b"twice"), ("none", None), ("empty", b""))
    sent = [Message(b"v", b"k", headers), Message(None, b"k"), Message(b"", b""), Message(b"\xff\x00", None)]
    world.put(topic, sent)
    records = read_all(world.source([topic]))
    assert [Message(r.value, r.key, r.headers) for r in records] == sent
    assert [(r.topic, r.partition, r.offset) for r in records] == [(topic, 0, i) for i in range(4)]
    assert all(before <= r.timestamp <= world.clock() for r in records)


def test_each_partition_comes_in_order(world: World):
    one, two = world.topic(3), world.topic(2)
    for topic, partitions in [(one, 3), (two, 2)]:
        for partition in range(partitions):
            world.put(topic, numbered(100), partition)
    source = world.source([one, two])
    records = read_all(source)
    assert len(records) == 500
    for topic, partition in source.positions():
        run = [r for r in records if (r.topic, r.partition) == (topic, partition)]
        assert [r.offset for r in run] == list(range(100))
        assert values(run) == [b"%d" % i for i in range(100)]
    assert set(source.positions().values()) == {100}


def test_a_poll_returns_no_more_than_asked(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    source = world.source([topic])
    assert values(read_some(source, 3)) == [b"0", b"1", b"2"]
    assert source.positions() == at(topic, {0: 3})
    assert values(source.poll(4, 5)) == [b"3", b"4", b"5", b"6"]
    assert values(source.poll(100, 5)) == [b"7", b"8", b"9"]


def test_an_empty_poll_waits_as_long_as_told(world: World):
    source = world.source([world.topic()])
    for timeout in (0.0, 0.25):
        start = time.monotonic()
        assert source.poll(10, timeout) == []
        assert timeout <= time.monotonic() - start < timeout + 0.5


def test_a_poll_does_not_wait_for_a_full_batch(world: World):
    topic = world.topic()
    source = world.source([topic])
    read_all(source)
    world.put(topic, numbered(1))
    start = time.monotonic()
    assert values(source.poll(1000, 30)) == [b"0"]
    assert time.monotonic() - start < 5


def test_seek_moves_only_what_it_names(world: World):
    topic = world.topic(2)
    for partition in (0, 1):
        world.put(topic, numbered(20), partition)
    source = world.source([topic])
    read_all(source)
    source.seek(at(topic, {0: 15}))
    assert source.positions() == at(topic, {0: 15, 1: 20})
    records = read_all(source)
    assert [(r.partition, r.offset) for r in records] == [(0, offset) for offset in range(15, 20)]


def test_seek_drops_what_was_fetched_already(world: World):
    topic = world.topic()
    world.put(topic, numbered(1000))
    source = world.source([topic])
    for offset in [500, 0, 998, 1, 700]:
        read_some(source, 1)
        source.seek(at(topic, {0: offset}))
        assert [r.offset for r in read_some(source, 1)] == [offset]


def test_positions_count_bounds_lag_and_end(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    source = world.source([topic])
    tp = TopicPartition(topic, 0)
    assert (source.positions(), source.bounds(), source.lag()) == ({tp: 0}, {tp: (0, 10)}, {tp: 10})
    assert not source.at_end()
    read_some(source, 4)
    assert source.lag() == {tp: 6}
    read_all(source)
    assert source.at_end()
    assert source.lag() == {tp: 0}
    world.put(topic, numbered(1))
    assert not source.at_end()


# Where a reader begins


def test_a_group_goes_on_where_it_committed(world: World):
    topic = world.topic(2)
    for partition in (0, 1):
        world.put(topic, numbered(10), partition)
    source = world.source([topic], group=topic)
    assert source.committed() == {}
    world.outlet(source).commit(at(topic, {0: 3, 1: 10}))
    assert source.committed() == at(topic, {0: 3, 1: 10})
    again = world.source([topic], group=topic, start="latest")
    assert again.positions() == at(topic, {0: 3, 1: 10})
    assert [r.offset for r in read_all(again)] == list(range(3, 10))


def test_given_positions_come_before_committed_ones(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    source = world.source([topic], group=topic)
    world.outlet(source).commit(at(topic, {0: 3}))
    assert world.source([topic], group=topic, positions=at(topic, {0: 7})).positions() == at(topic, {0: 7})


def test_latest_begins_behind_what_is_there(world: World):
    topic = world.topic()
    world.put(topic, numbered(5))
    source = world.source([topic], start="latest")
    assert source.positions() == at(topic, {0: 5})
    world.put(topic, numbered(2, first=5))
    assert values(read_all(source)) == [b"5", b"6"]


def test_a_time_begins_at_the_first_record_from_then_on(world: World):
    topic = world.topic(2)
    world.put(topic, numbered(5))
    time.sleep(0.005)
    moment = world.clock()
    time.sleep(0.005)
    world.put(topic, numbered(3, first=5))
    source = world.source([topic], start=datetime.fromtimestamp(moment / 1000, UTC))
    assert source.positions() == at(topic, {0: 5, 1: 0})


def test_a_partition_that_its_siblings_positions_do_not_name_is_read_from_its_beginning(world: World):
    topic = world.topic(2)
    for partition in (0, 1):
        world.put(topic, numbered(4), partition)
    source = world.source([topic], positions=at(topic, {0: 2}), start="latest")
    assert source.positions() == at(topic, {0: 2, 1: 0})


def test_new_partitions_are_found(world: World):
    topic = world.topic()
    world.put(topic, numbered(2))
    source = world.source([topic], start="latest")
    read_all(source)
    world.grow(topic, 3)
    world.put(topic, numbered(3, first=2), 2)
    assert values(read_some(source, 3)) == [b"2", b"3", b"4"]
    assert source.positions() == at(topic, {0: 2, 1: 0, 2: 3})


def test_a_missing_topic_is_told(world: World):
    with pytest.raises(ConfigError, match="'no-such-topic' does not exist"):
        world.source(["no-such-topic"])


# What is gone is told, never skipped


def test_a_start_behind_retention_is_told(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    world.truncate(TopicPartition(topic, 0), 6)
    with pytest.raises(StreamlearnError, match=r"offset 2, was deleted: the log begins at 6, so 4 offsets"):
        read_all(world.source([topic], positions=at(topic, {0: 2})))
    assert [r.offset for r in read_all(world.source([topic]))] == [6, 7, 8, 9]


def test_retention_under_a_reader_is_told(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    source = world.source([topic])
    read_some(source, 2)
    world.truncate(TopicPartition(topic, 0), 6)
    source.seek(at(topic, {0: 2}))  # what was fetched before may be read on; what is asked for now is gone
    with pytest.raises(StreamlearnError, match=r"offset 2, was deleted: the log begins at 6") as raised:
        read_some(source, 1)
    assert raised.value.where == f"{topic}[0]"
    source.seek(at(topic, {0: 6}))
    assert [r.offset for r in read_all(source)] == [6, 7, 8, 9]


def test_a_position_past_the_end_is_told(world: World):
    topic = world.topic()
    world.put(topic, numbered(10))
    with pytest.raises(StreamlearnError, match="past the log's end at 10"):
        read_all(world.source([topic], positions=at(topic, {0: 11})))


# Writing


@pytest.mark.parametrize("transactional", [False, True])
def test_committed_messages_and_positions_are_there(world: World, transactional):
    topic, output = world.topic(), world.topic(2)
    source = world.source([topic], group=topic)
    outlet = world.outlet(source, transactional_id=output if transactional else None)
    sent = [Message(b"%d" % i, b"key-%d" % (i % 7), (("h", b"x"),) if i % 3 == 0 else ()) for i in range(50)]
    outlet.begin()
    outlet.send(output, sent)
    outlet.send(output, [])
    outlet.commit(at(topic, {0: 0}))
    records = read_all(world.source([output]))
    assert sorted(Message(r.value, r.key, r.headers) for r in records) == sorted(sent)
    assert source.committed() == at(topic, {0: 0})
    for key in {m.key for m in sent}:
        run = [r for r in records if r.key == key]
        assert len({r.partition for r in run}) == 1, "the records of a key meet in one partition"
        assert values(run) == [m.value for m in sent if m.key == key], "and keep their order"


def test_an_open_transaction_is_not_seen_and_holds_readers_back(world: World):
    output = world.topic()
    outlet = world.outlet(transactional_id=output)
    world.put(output, numbered(2))
    outlet.begin()
    outlet.send(output, [Message(b"open")])
    wait_until_written(world, output, 3)
    world.put(output, numbered(2, first=2))
    source = world.source([output])
    assert values(read_all(source)) == [b"0", b"1"]
    assert source.bounds() == {TopicPartition(output, 0): (0, 2)}
    outlet.commit({})
    assert values(read_some(source, 3)) == [b"open", b"2", b"3"]


def wait_until_written(world: World, topic: str, end: int) -> None:
    """Wait until an open transaction's records are in the log, which only a reader of uncommitted ones can see."""
    if isinstance(world, KafkaWorld):
        import confluent_kafka as ck  # noqa: PLC0415

        consumer = ck.Consumer(
            {"bootstrap.servers": world.address, "group.id": "end", "isolation.level": "read_uncommitted"}
        )
        while consumer.get_watermark_offsets(ck.TopicPartition(topic, 0), 10)[1] < end:
            time.sleep(0.01)
        consumer.close()


def test_an_aborted_transaction_is_never_seen(world: World):
    topic, output = world.topic(), world.topic()
    source = world.source([topic], group=topic)
    outlet = world.outlet(source, transactional_id=output)
    for value, finish in [(b"a", "commit"), (b"b", "abort"), (b"c", "commit"), (b"d", "abort")]:
        outlet.begin()
        outlet.send(output, [Message(value)] * 3)
        if finish == "commit":
            outlet.commit(at(topic, {0: 0}))
        else:
            outlet.abort()
    reader = world.source([output])
    assert values(read_all(reader)) == [b"a"] * 3 + [b"c"] * 3
    assert reader.positions() == {tp: end for tp, (_, end) in reader.bounds().items()}, "past the last marker"


def test_an_aborted_transaction_commits_no_positions(world: World):
    topic, output = world.topic(), world.topic()
    world.put(topic, numbered(5))
    source = world.source([topic], group=topic)
    outlet = world.outlet(source, transactional_id=output)
    outlet.begin()
    outlet.send(output, [Message(b"a")])
    outlet.commit(at(topic, {0: 1}))
    outlet.begin()
    outlet.send(output, [Message(b"b")])
    outlet.abort()
    assert source.committed() == at(topic, {0: 1})


def test_a_transaction_leaves_gaps_that_no_range_counts(world: World):
    output = world.topic()
    outlet = world.outlet(transactional_id=output)
    for _ in range(3):
        outlet.begin()
        outlet.send(output, [Message(b"a"), Message(b"b")])
        outlet.commit({})
    records = read_all(world.source([output]))
    assert [r.offset for r in records] == [0, 1, 3, 4, 6, 7]
    (taken,) = ranges(canonical(records, [output]))
    assert (taken.start, taken.next, taken.count) == (0, 8, 6)


def test_a_second_holder_fences_the_first(world: World):
    topic, output = world.topic(), world.topic()
    source = world.source([topic], group=topic)
    first = world.outlet(source, transactional_id=output)
    first.begin()
    first.send(output, [Message(b"zombie")])
    second = world.outlet(source, transactional_id=output)
    with pytest.raises(FencedError, match="took over") as raised:
        first.commit(at(topic, {0: 0}))
    assert raised.value.exit_code == 3
    second.begin()
    second.send(output, [Message(b"heir")])
    second.commit({})
    assert values(read_all(world.source([output]))) == [b"heir"]
    assert source.committed() == {}


def test_what_a_dead_holder_left_open_is_aborted_by_the_next(world: World):
    topic, output = world.topic(), world.topic()
    source = world.source([topic], group=topic)
    dead = world.outlet(source, transactional_id=output)
    dead.begin()
    dead.send(output, [Message(b"left open")])
    wait_until_written(world, output, 1)
    world.outlet(source, transactional_id=output)
    world.put(output, [Message(b"after")])
    assert values(read_all(world.source([output]))) == [b"after"]


def test_a_message_of_the_largest_size_goes_through(world: World):
    topic = world.topic()
    outlet = world.outlet()
    size = outlet.max_bytes(topic)
    assert size > 0.9 * world.max_bytes
    outlet.begin()
    outlet.send(topic, [Message(b"v" * (size - 12), b"key", (("header", b"xyz"),))])
    outlet.commit({})
    assert len(read_all(world.source([topic]))) == 1


@pytest.mark.parametrize("headers", [(), (("h", b"x"),)])
def test_a_message_that_is_too_large_is_told(world: World, headers):
    topic = world.topic()
    outlet = world.outlet()
    outlet.begin()
    with pytest.raises(StreamlearnError, match="larger than") as raised:
        outlet.send(topic, [Message(b"v" * (world.max_bytes + 1), None, headers)])
    assert topic in str(raised.value)
