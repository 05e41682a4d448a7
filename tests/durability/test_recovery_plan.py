"""The end of the journal tells where the last learner stopped; what it needs and is gone is told before a model is
loaded."""

import shutil
from collections import Counter

import pytest

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.recovery_plan import start_of
from streamlearn.stream.transport import TopicPartition
from tests.past import IDS, plan_of

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_tells_where_the_last_learner_stopped(past):
    assert plan_of(past).positions == {}
    past.produce(20)
    past.start()
    past.drain()
    found = plan_of(past)
    assert found.positions == past.service.source.positions()
    assert (found.batches, found.named, found.deaths) == (len(past.records()), [], 1)
    past.save()
    found = plan_of(past)
    assert (found.batches, found.deaths) == (0, 0)
    assert found.names == [record.name for record in past.records(journal.Snapshot)]
    assert found.writer.seq == past.service.publisher.writer.seq
    assert found.last_start == past.records(journal.Start)[-1]


def test_the_start_of_who_wrote_a_snapshot_is_found_while_the_journal_has_it(past):
    past.lives(1, 8)
    (snapshot,), (start,) = past.records(journal.Snapshot), past.records(journal.Start)
    with past.open_journal() as journal_log:
        assert start_of(journal_log, snapshot) == start
    past.log.truncate(TopicPartition("test.journal", 0), 1)
    with past.open_journal() as journal_log:
        assert start_of(journal_log, snapshot) is None


def test_what_is_discarded_after_the_newest_snapshot_is_told(past):
    past.produce(20)
    service = past.start()
    past.drain()
    batch = past.records()[0].seq
    service.publisher.commit(journal.Discard(**service.common(past.now), batch=batch))
    assert plan_of(past).discarded == {batch}
    past.save()
    assert plan_of(past).discarded == set()


def test_a_topic_that_was_made_anew_is_refused_until_the_loss_is_accepted(past):
    past.produce(40)
    past.start()
    past.service.turn()
    past.save()
    past.service.turn()
    step = past.service.learner.step
    past.log.delete("events")
    past.log.create("events", 2)
    past.topic_ids = {"events": "second"}
    past.produce(40)
    with pytest.raises(StreamlearnError, match=r"(?s)'events': the topic was made anew.*new `name`.*accept_loss"):
        past.start()
    past.start(accept_loss=True)
    assert 0 < past.service.learner.step <= step  # what came after the snapshot is gone
    past.drain()
    assert {f"e{i}" for i in range(40, 80)} <= {p["id"] for p in past.predictions()}
    past.start()  # and that is settled from now on


def test_an_id_that_cannot_be_read_says_nothing(past):
    past.produce(20)
    past.start()
    past.drain()
    past.topic_ids = {"events": ""}
    past.start(accept_loss=True)
    past.topic_ids = IDS
    past.start()
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}
    past.topic_ids = {"events": "second"}
    with pytest.raises(StreamlearnError, match="made anew"):
        past.start()


def test_a_journal_that_lost_its_beginning_needs_its_snapshots(past):
    past.lives(2, 8)
    past.log.truncate(TopicPartition("test.journal", 0), 3)
    past.start()
    shutil.rmtree(past.folder)
    with pytest.raises(StreamlearnError, match=r"(?s)journal begins with record.*put back a snapshot"):
        past.start()
