"""What the log in memory promises beyond the contract: it can be looked into, repeats exactly, and is quick.

The clock is the caller's, partitions follow from keys, groups and aborted records can be inspected, and what a test
does to the log (truncate, delete, grow) shows to readers at once.
"""

import threading
import time

import pytest

from streamlearn.core.errors import ConfigError, FencedError, StreamlearnError
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, TopicPartition
from tests.stream.worlds import numbered, values


@pytest.fixture
def log():
    log = MemoryLog()
    log.create("events", 3)
    return log


def test_timestamps_come_from_the_given_clock():
    now = iter([5, 6, 7])
    log = MemoryLog(clock=lambda: next(now))
    log.create("events")
    log.append("events", numbered(3))
    assert [r.timestamp for r in log.records("events")] == [5, 6, 7]


def test_two_logs_with_the_same_history_are_the_same():
    def history():
        log = MemoryLog()
        log.create("events", 4)
        log.append("events", [Message(b"%d" % i, b"%d" % (i % 5) if i % 3 else None) for i in range(100)])
        return log.records("events")

    assert history() == history()


def test_keys_choose_partitions_and_the_others_take_turns(log):
    log.append("events", [Message(b"v", key) for key in (b"a", b"b", b"a", b"b")])
    by_key = {}
    for record in log.records("events"):
        by_key.setdefault(record.key, set()).add(record.partition)
    assert {len(found) for found in by_key.values()} == {1}
    log.create("labels", 3)
    log.append("labels", numbered(4))
    assert [r.partition for r in log.records("labels")] == [0, 0, 1, 2]


def test_groups_are_stored_in_the_log(log):
    tp = TopicPartition("events", 0)
    MemoryOutlet(log, group="g").commit({tp: 7})
    MemoryOutlet(log, group="h", transactional_id="x").commit({tp: 9})
    assert log.groups == {"g": {tp: 7}, "h": {tp: 9}}


def test_without_a_group_positions_go_nowhere(log):
    MemoryOutlet(log).commit({TopicPartition("events", 0): 7})
    assert log.groups == {}


def test_at_least_once_sends_at_the_commit_and_drops_at_an_abort(log):
    outlet = MemoryOutlet(log)
    outlet.begin()
    outlet.send("events", numbered(1))
    assert log.records("events") == []
    outlet.abort()
    outlet.begin()
    outlet.send("events", numbered(1, first=1))
    outlet.commit({})
    assert values(log.records("events")) == [b"1"]


def test_markers_take_an_offset_in_each_partition_that_was_written(log):
    outlet = MemoryOutlet(log, transactional_id="x")
    outlet.begin()
    outlet.send("events", numbered(2))  # without a key: partitions 0 and 1
    outlet.commit({})
    assert [log.bounds(TopicPartition("events", i)) for i in range(3)] == [(0, 2), (0, 2), (0, 0)]


def test_a_partition_may_hold_open_transactions_of_several_writers():
    log = MemoryLog()
    log.create("events")
    source = MemorySource(log, ["events"])
    one, two = (MemoryOutlet(log, transactional_id=name) for name in "ab")
    for outlet, value in [(one, b"1"), (two, b"2"), (one, b"3")]:
        outlet.begin()
        outlet.send("events", [Message(value)])
    two.commit({})
    assert source.poll(10, 0) == []
    one.abort()
    assert values(source.poll(10, 0)) == [b"2"]
    assert source.at_end()


def test_every_call_of_a_fenced_holder_is_refused(log):
    old = MemoryOutlet(log, transactional_id="x")
    MemoryOutlet(log, transactional_id="x")
    for call in (old.begin, old.abort, lambda: old.send("events", numbered(1)), lambda: old.commit({})):
        with pytest.raises(FencedError, match="'x' took over"):
            call()


def test_truncating_a_partition_hides_open_and_aborted_records_alike():
    log = MemoryLog()
    log.create("events")
    outlet = MemoryOutlet(log, transactional_id="x")
    outlet.begin()
    outlet.send("events", numbered(4))
    log.truncate(TopicPartition("events", 0), 2)
    outlet.abort()
    assert log.bounds(TopicPartition("events", 0)) == (2, 5)
    assert log.records("events") == []


def test_a_reader_of_a_topic_that_was_made_anew_is_told():
    log = MemoryLog()
    log.create("events")
    log.append("events", numbered(5))
    source = MemorySource(log, ["events"])
    source.poll(10, 0)
    log.delete("events")
    with pytest.raises(StreamlearnError, match="deleted while it was read; the next offset was 5"):
        source.poll(10, 0)
    log.create("events")
    with pytest.raises(StreamlearnError, match="past the log's end at 0"):
        source.poll(10, 0)


def test_a_waiting_poll_wakes_when_another_thread_writes(log):
    source = MemorySource(log, ["events"])
    writer = threading.Timer(0.05, log.append, ("events", numbered(1)))
    writer.start()
    start = time.monotonic()
    assert values(source.poll(10, 30)) == [b"0"]
    assert time.monotonic() - start < 10
    writer.join()


def test_what_is_sent_is_checked_at_once():
    log = MemoryLog(max_bytes=10)
    log.create("events")
    outlet = MemoryOutlet(log)
    assert outlet.max_bytes("events") == 10
    outlet.send("events", [Message(b"12345", b"678", (("n", b"v"),))])
    with pytest.raises(StreamlearnError, match="11 bytes is larger than the 10"):
        outlet.send("events", [Message(b"12345", b"678", (("n", b"vw"),))])
    with pytest.raises(ConfigError, match="'nowhere' does not exist"):
        outlet.send("nowhere", numbered(1))
