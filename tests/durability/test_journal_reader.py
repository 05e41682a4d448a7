"""The journal is read back as it was written, whatever else stands in the log."""

import pytest

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal import Writer
from streamlearn.durability.journal_reader import CHUNK, JournalLog, valid
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, TopicPartition

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
