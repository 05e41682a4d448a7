"""A backlog comes in the order in which it was written, each partition in its own; nothing is lost, repeated or held
back for long, and positions are those of what was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.core.errors import StreamlearnError
from streamlearn.stream.memory_log import MemoryLog, MemorySource
from streamlearn.stream.time_ordered import AGAIN, PATIENCE, TimeOrdered
from streamlearn.stream.transport import Message, TopicPartition


def log_of(*times):
    """A log whose partitions have records of these times."""
    now = [0]
    log = MemoryLog(clock=lambda: now[0])
    log.create("events", len(times))
    for partition, each in enumerate(times):
        for at in each:
            now[0] = at
            log.append("events", [Message(f"{partition}:{at}".encode())], partition=partition)
    return log


def all_of(source, size=4):
    found = []
    while batch := source.poll(size, 0.0):
        found.append(batch)
    return found


class Bursts:
    """Gives the records of one partition after the other, and some partitions late or never."""

    def __init__(self, inner, late=()):
        self.inner, self.late, self.asked = inner, dict(late), 0

    def poll(self, most, timeout):
        self.asked += 1
        if any(self.asked <= polls for polls in self.late.values()):
            parts = [tp for tp in self.inner.positions() if self.asked > self.late.get(tp.partition, 0)]
            kept = {tp: at for tp, at in self.inner.positions().items() if tp not in parts}
            records = [each for each in self.inner.poll(most, 0.0) if each.topic_partition in parts]
            self.inner.seek(kept)
            return records
        return self.inner.poll(most, 0.0)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_partitions_are_merged_by_time():
    source = TimeOrdered(MemorySource(log_of(range(0, 20, 2), range(1, 21, 2)), ["events"]), 100)
    assert [record.timestamp for batch in all_of(source) for record in batch] == list(range(20))


def test_a_time_that_steps_back_does_not_change_the_order_within_a_partition():
    source = TimeOrdered(MemorySource(log_of([5, 1, 6], [2, 5, 9]), ["events"]), 100)
    assert [record.value for batch in all_of(source, 2) for record in batch] == [
        *(b"1:2", b"0:5", b"0:1", b"1:5", b"0:6", b"1:9")
    ]


def test_without_room_records_come_as_they_are():
    log = log_of([1, 3], [0, 2])
    plain, source = MemorySource(log, ["events"]), TimeOrdered(MemorySource(log, ["events"]), 0)
    assert all_of(source) == all_of(plain)


def test_what_is_read_ahead_is_bounded():
    inner = MemorySource(log_of(range(1000), range(1000)), ["events"])
    source = TimeOrdered(inner, 50)
    source.poll(10, 0.0)
    assert sum(inner.positions().values()) == 50
    assert sum(source.positions().values()) == 10


def test_large_records_are_bounded_by_their_bytes():
    inner = MemorySource(log_of(range(10, 99), range(10, 99)), ["events"])
    source = TimeOrdered(inner, 50, room_bytes=40)  # ten values

    def held():
        return sum(len(each.value) for some in source._held.values() for _, each in some)

    found = source.poll(5, 0.0)
    assert sum(inner.positions().values()) == 50  # one read
    while batch := source.poll(5, 0.0):
        found += batch
        assert source._bytes == held() <= 50 * 4
        if len(found) == 90:
            source.seek({tp: at - 1 for tp, at in source.positions().items()})
            assert source._bytes == held()
    assert len(found) == 2 * 89 + 2


def test_a_time_far_ahead_does_not_keep_its_partition_back_for_ever():
    now = [50.0]
    log = log_of([10**9, *range(51_000, 51_010)], range(40_000, 52_000, 100))
    source = TimeOrdered(MemorySource(log, ["events"]), 1000, now=lambda: now[0])
    found = []
    while batch := source.poll(10, 0.0):
        found += batch
        now[0] += 1
    places = [at for at, record in enumerate(found) if record.partition == 0]
    assert places[-1] < len(found) - 1
    assert len(found) == 131


@pytest.mark.parametrize("fails", [1, 2, 3])
@pytest.mark.parametrize("ahead", [0, 3, 4])
@pytest.mark.parametrize(("room", "others"), [(100, 6), (0, 6), (100, 0)])
def test_a_failure_waits_until_what_was_read_is_given(room, others, ahead, fails):
    class Failing(Bursts):
        def poll(self, most, timeout):
            self.asked += 1
            if self.asked == fails:
                raise StreamlearnError("gone", where="there", mend="put it back")
            return self.inner.poll(most, timeout)

    log = log_of(range(6), range(6)[:others])
    source = TimeOrdered(Failing(MemorySource(log, ["events"])), room)
    told = given_out = 0
    for _ in range(12):
        try:
            given_out += len(source.poll(4, 0.0))
        except StreamlearnError:
            told += 1
        assert sum(source.positions().values()) == given_out
        source.look_ahead(ahead)
    assert (told, given_out) == (1, 6 + others)


def test_positions_lag_and_the_end_are_those_of_what_was_given():
    inner = MemorySource(log_of([1, 3, 5], [2, 4]), ["events"])
    source = TimeOrdered(inner, 100)
    assert not source.at_end()
    assert len(source.poll(2, 0.0)) == 2
    assert source.positions() == {TopicPartition("events", 0): 1, TopicPartition("events", 1): 1}
    assert source.lag() == {TopicPartition("events", 0): 2, TopicPartition("events", 1): 1}
    assert inner.at_end()
    assert not source.at_end()
    source.seek({TopicPartition("events", 0): 0})
    assert [record.timestamp for record in source.poll(9, 0.0)] == [1, 3, 4, 5]
    assert source.at_end()


def test_a_partition_that_is_behind_is_waited_for():
    inner = Bursts(MemorySource(log_of(range(100, 120), range(10)), ["events"]), late={1: 3})
    source = TimeOrdered(inner, 100, clock=lambda: 0.0)
    assert [record.timestamp for record in source.poll(4, 0.0)] == [0, 1, 2, 3]


def test_one_that_gives_nothing_is_waited_for_once_in_a_while():
    now = [0.0]

    class Slow(Bursts):
        def poll(self, most, timeout):
            now[0] += timeout
            return super().poll(most, timeout)

    inner = Slow(MemorySource(log_of(range(40), range(10)), ["events"]), late={1: 1000})
    source = TimeOrdered(inner, 100, clock=lambda: now[0])
    assert [record.partition for record in source.poll(4, 0.0)] == [0] * 4
    assert now[0] == pytest.approx(PATIENCE)
    source.poll(4, 0.0)
    assert now[0] == pytest.approx(PATIENCE)
    now[0] += AGAIN
    source.poll(4, 0.0)
    assert now[0] == pytest.approx(AGAIN + 2 * PATIENCE)


def test_a_live_stream_is_not_held_back():
    inner = Bursts(MemorySource(log_of([1, 2], [0]), ["events"]), late={1: 1000})
    source = TimeOrdered(inner, 100, clock=lambda: 1 / 0)  # never asked for the time
    assert [record.timestamp for record in source.poll(4, 0.0)] == [1, 2]


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=4),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 7)), min_size=1, max_size=60),
    st.sets(st.integers(0, 59), max_size=3),
)
def test_nothing_is_lost_or_repeated_or_out_of_its_partitions_order(times, room, steps, back):
    log = log_of(*times)
    source = TimeOrdered(MemorySource(log, ["events"]), room)
    next_of = {TopicPartition("events", partition): 0 for partition in range(len(times))}
    for at, (ahead, size) in enumerate(steps):
        if at in back:
            tp = TopicPartition("events", at % len(times))
            next_of[tp] //= 2
            source.seek({tp: next_of[tp]})
        batch = source.poll(size, 0.0)
        assert len(batch) <= size
        for record in batch:
            assert record.offset == next_of[record.topic_partition]
            next_of[record.topic_partition] += 1
        source.look_ahead(ahead)
        ends = {tp: end for tp, (_, end) in source.bounds().items()}
        assert source.positions() == next_of
        assert source.lag() == {tp: ends[tp] - next_of[tp] for tp in ends}
        assert source.at_end() == (next_of == ends)
    for batch in all_of(source):
        for record in batch:
            assert record.offset == next_of[record.topic_partition]
            next_of[record.topic_partition] += 1
    assert source.at_end()


def test_what_was_read_ahead_is_bounded_and_comes_with_what_came_since():
    log = log_of(range(3))
    inner = MemorySource(log, ["events"])
    source = TimeOrdered(inner, 100)
    source.look_ahead(2)
    source.look_ahead(2)
    assert sum(inner.positions().values()) == 2
    assert [record.offset for record in source.poll(9, 0.0)] == [0, 1, 2]
    assert source.at_end()
