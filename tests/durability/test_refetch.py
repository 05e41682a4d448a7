"""The records of a past batch come again exactly as they were, or with an error that says what is gone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability.refetch import Refetch
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, TopicPartition, canonical, ranges


def inputs(values, partitions=2):
    log = MemoryLog()
    log.create("events", partitions)
    outlet = MemoryOutlet(log, transactional_id="producer")  # its markers leave gaps
    for value in values:
        outlet.begin()
        outlet.send("events", [Message(value, value)])
        outlet.commit({})
    return log


def taken(log, sizes):
    """Take batches as the service does; return the positions before them, and each batch with its description."""
    source = MemorySource(log, ["events"])
    start, batches = source.positions(), []
    for size in sizes:
        records = canonical(source.poll(size, 0), ["events"])
        if records:
            batches.append((ranges(records), records))
    return start, batches


@settings(deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3), max_size=30),
    st.lists(st.integers(1, 7), max_size=12),
    st.integers(0, 5),
)
def test_batches_come_again_as_they_were(values, sizes, skipped):
    log = inputs(values)
    start, batches = taken(log, sizes)
    skipped = min(skipped, len(batches))
    for wanted, _ in batches[:skipped]:  # a snapshot holds these: they are not fetched again
        start.update({TopicPartition(r.topic, r.partition): r.next for r in wanted})
    refetch = Refetch(MemorySource(log, ["events"]), start)
    for wanted, records in batches[skipped:]:
        assert refetch.fetch(wanted) == (records, False)


def test_other_records_at_the_same_offsets_are_an_error():
    start, batches = taken(inputs([b"a", b"b", b"c"], 1), [3])
    refetch = Refetch(MemorySource(inputs([b"a", b"x", b"c"], 1), ["events"]), start)
    with pytest.raises(StreamlearnError, match=r"(?s)other records there.*accept_loss"):
        refetch.fetch(batches[0][0])


def test_what_is_gone_is_an_error_or_an_accepted_loss():
    log = inputs([b"a", b"b", b"c", b"d"], 1)
    start, batches = taken(log, [3, 3])
    log.truncate(TopicPartition("events", 0), batches[0][1][1].offset)
    with pytest.raises(StreamlearnError):
        Refetch(MemorySource(log, ["events"], positions={TopicPartition("events", 0): 2}), start).fetch(batches[0][0])
    refetch = Refetch(MemorySource(log, ["events"], positions={TopicPartition("events", 0): 2}), start)
    assert refetch.fetch(batches[0][0], lossy=True) == (batches[0][1][1:], True)
    assert refetch.fetch(batches[1][0], lossy=True) == (batches[1][1], False)
