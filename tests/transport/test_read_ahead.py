"""What is read ahead comes in its order, once, and does not count as read before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.errors import StreamlearnError
from streamlearn.transport.base import Message, TopicPartition
from streamlearn.transport.memory import MemoryLog, MemorySource
from streamlearn.transport.read_ahead import ReadAhead

PARTS = [TopicPartition("events", partition) for partition in range(2)]


def a_log(*counts):
    log = MemoryLog()
    log.create("events", len(PARTS))
    for tp, count in zip(PARTS, counts, strict=False):
        for _ in range(count):
            log.append("events", [Message(b"{}")], partition=tp.partition)
    return log


class Fails:
    """A source that is asked too often."""

    def __init__(self, inner):
        self.inner, self.failing = inner, True

    def poll(self, most, timeout):
        if self.failing:
            raise StreamlearnError("the log is gone", where="here", mend="wait")
        return self.inner.poll(most, timeout)

    def __getattr__(self, name):
        return getattr(self.inner, name)


steps = st.one_of(
    st.tuples(st.just("poll"), st.integers(1, 6)),
    st.tuples(st.just("ahead"), st.integers(1, 6)),
    st.tuples(st.just("append"), st.integers(0, 1)),
    st.tuples(st.just("seek"), st.integers(0, 1)),
)


@given(st.lists(steps, max_size=40))
def test_each_record_is_given_once_in_its_order_and_counts_when_it_is_given(script):
    log = a_log(3, 2)
    source = ReadAhead(MemorySource(log, ["events"]))
    next_of = dict.fromkeys(PARTS, 0)
    for step, number in script:
        if step == "ahead":
            source.look_ahead(number)
        elif step == "append":
            log.append("events", [Message(b"{}")], partition=number)
        elif step == "seek":
            tp = PARTS[number]
            next_of[tp] //= 2
            source.seek({tp: next_of[tp]})
        else:
            records = source.poll(number, 0.0)
            assert len(records) <= number
            for record in records:
                tp = TopicPartition(*record[:2])
                assert record.offset == next_of[tp]
                next_of[tp] += 1
        ends = {tp: end for tp, (_, end) in source.bounds().items()}
        assert source.positions() == next_of
        assert source.lag() == {tp: ends[tp] - next_of[tp] for tp in PARTS}
        assert source.at_end() == (next_of == ends)
    while records := source.poll(4, 0.0):
        for record in records:
            assert record.offset == next_of[TopicPartition(*record[:2])]
            next_of[TopicPartition(*record[:2])] += 1
    assert next_of == {tp: end for tp, (_, end) in source.bounds().items()}


def test_no_more_is_held_than_was_asked_for():
    inner = MemorySource(a_log(9, 0), ["events"])
    source = ReadAhead(inner)
    source.look_ahead(4)
    source.look_ahead(4)
    assert (inner.positions()[PARTS[0]], source.positions()[PARTS[0]]) == (4, 0)
    assert [record.offset for record in source.poll(6, 0.0)] == [0, 1, 2, 3, 4, 5]


def test_a_failure_waits_until_what_was_read_is_given():
    inner = Fails(MemorySource(a_log(3, 0), ["events"]))
    source = ReadAhead(inner)
    source.look_ahead(2)
    with pytest.raises(StreamlearnError, match="gone"):
        source.poll(2, 0.0)
    inner.failing = False
    source.look_ahead(2)
    inner.failing = True
    assert len(source.poll(3, 0.0)) == 2
    with pytest.raises(StreamlearnError, match="gone"):
        source.poll(3, 0.0)
