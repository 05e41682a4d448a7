"""The journal is read back as it was written, whatever else stands in the log; and the records of a past batch come
again exactly as they were, or with an error that says what is gone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal_reader import CHUNK, JournalLog, Refetch, Writer, valid
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, TopicPartition, canonical, ranges

JOURNAL = TopicPartition("journal", 0)


def flush(writer, now=0.0):
    record = journal.Flush(**writer.common(now))
    writer.wrote()
    return record


def written(*records, log=None):
    log = log or MemoryLog()
    if "journal" not in log.topics():
        log.create("journal", 1)
    log.append("journal", [Message(journal.encode(record)) for record in records])
    return log


def opened(log):
    return JournalLog(MemorySource(log, ["journal"]), "journal")


def test_an_empty_journal_has_no_last_record():
    assert opened(written()).last() is None


@pytest.mark.parametrize("count", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_last_record_is_found_and_all_are_read_in_order(count):
    writer = Writer()
    log = opened(written(*(flush(writer) for _ in range(count))))
    assert log.last().record.seq == count - 1
    assert [entry.record.seq for entry in log.read(0)] == list(range(count))
    assert [entry.offset for entry in log.read(count - 1)] == [count - 1]


def test_records_of_an_aborted_transaction_are_not_there():
    log, writer = written(), Writer()
    outlet = MemoryOutlet(log, transactional_id="x")
    for commit in (True, False, True, False):
        outlet.begin()
        outlet.send("journal", [Message(journal.encode(flush(Writer(seq=writer.seq))))])
        if commit:
            outlet.commit({})
            writer.wrote()
        else:
            outlet.abort()
    found = opened(log)
    assert [entry.record.seq for entry in found.read(0)] == [0, 1]
    assert found.last().record.seq == 1


def test_what_an_older_incarnation_wrote_after_a_newer_start_is_void():
    old, new = Writer(seq=0, incarnation=0), Writer(seq=1, incarnation=1)
    records = [flush(old), flush(new), flush(old), flush(new), flush(old)]
    log = opened(written(*records))
    kept = [(entry.record.incarnation, entry.record.seq) for entry in valid(log.read(0), "journal")]
    assert kept == [(0, 0), (1, 1), (1, 2)]
    assert log.last().record.seq == 2


def test_a_missing_record_is_an_error():
    writer = Writer()
    first, _, third = (flush(writer) for _ in range(3))
    with pytest.raises(StreamlearnError, match="record 0 is followed by record 2"):
        list(valid(opened(written(first, third)).read(0), "journal"))


def test_what_retention_took_is_an_error():
    writer = Writer()
    log = written(*(flush(writer) for _ in range(5)))
    log.truncate(JOURNAL, 3)
    found = opened(log)
    assert found.begins == 3
    with pytest.raises(StreamlearnError, match="was deleted"):
        list(found.read(2))


def test_a_journal_has_one_partition():
    log = MemoryLog()
    log.create("journal", 2)
    with pytest.raises(StreamlearnError, match="2 partitions"):
        opened(log)


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
