"""A replay proves that the model is the one whose predictions were published, or says where it is not."""

import orjson
import pytest

from streamlearn.commands.published import Published
from streamlearn.commands.replay import Checked, begin, beginnings, follow, passed, silent_service
from streamlearn.core.errors import StreamlearnError
from streamlearn.durability.recovery_plan import plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.service.recovery import Recovery
from streamlearn.stream.memory_log import MemorySource
from streamlearn.stream.transport import Message, TopicPartition
from tests.past import Past, dying

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def past(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.lives(3, 20)
    return past


def replayed(past, *, to_step=None, whole=True):
    """Replay and verify as the command does, on the in-process log; return the service and what was compared."""
    with past.open_journal() as journal_log:
        found = plan(journal_log, 10**6)
    recovery = Recovery(found, Snapshots(str(past.folder)), past.open_journal, past.inputs)
    service = silent_service(past.settings(), to_step)
    named = beginnings(found.named, recovery.snapshots, to_step, verify=True, whole=whole)
    pointer = begin(recovery, service, named, to_step)
    source = MemorySource(past.log, ["test.predictions"])
    checked = Checked(Published(source, passed(named, pointer), ahead=48))
    follow(recovery, service, pointer, checked, to_step)
    return service, checked


def test_every_prediction_and_every_digest_is_compared(past):
    service, checked = replayed(past)
    assert service.learner.sha256() == past.service.learner.sha256()
    assert (checked.predictions, checked.digests, checked.gone, checked.differences) == (60, 3, 0, 0)
    assert checked.published.held <= 48 * 2


def test_a_replay_begins_at_a_snapshot_where_the_journal_lost_its_beginning(past):
    service, checked = replayed(past, whole=False)
    assert service.learner.sha256() == past.service.learner.sha256()
    assert (checked.predictions, checked.digests, checked.differences) == (20, 1, 0)


def test_a_replay_stops_at_a_step(past):
    service, checked = replayed(past, to_step=5)
    assert service.learner.step == 5
    assert service.root == past.settings().root, "the settings stay those of the start, which the journal compares"
    assert checked.differences == 0
    assert 0 < checked.predictions < 60


def test_a_step_before_all_that_can_be_rebuilt_is_refused(past):
    with pytest.raises(StreamlearnError, match="the oldest state that can be rebuilt is that of step 7, after 4"):
        replayed(past, to_step=4, whole=False)


@pytest.mark.parametrize(
    ("to_step", "whole", "steps"),
    [(None, True, [7, 10]), (9, True, [7]), (4, True, []), (4, False, [7, 10])],  # the third is not kept any more
)
def test_what_is_not_verified_begins_at_a_snapshot_before_the_step(past, to_step, whole, steps):
    with past.open_journal() as journal_log:
        named = plan(journal_log, 10**6).named
    found = beginnings(named, Snapshots(str(past.folder)), to_step, verify=False, whole=whole)
    assert sorted(each.record.model_step for each in found) == steps


def test_a_prediction_that_was_changed_is_named(past):
    key, value = next(record[3:5] for record in past.log.records("test.predictions") if b'"c1"' in record.value)
    changed = {**orjson.loads(value), "label": "c9"}
    past.log.append("test.predictions", [Message(orjson.dumps(changed), key)])
    _, checked = replayed(past)
    assert checked.differences == 1
    source = changed["source"]
    assert checked.first.startswith(f"events[{source['partition']}] offset {source['offset']}: ")
    assert "c9" in checked.first


def test_what_retention_took_is_counted_as_gone(past):
    for partition in range(2):
        past.log.truncate(TopicPartition("test.predictions", partition), 5)
    _, checked = replayed(past)
    assert checked.gone > 0
    assert checked.predictions + checked.gone == 60
    assert checked.differences == 0


def test_without_transactions_what_was_published_twice_is_compared_once(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state", transactional=False)
    past.produce(60)
    past.start()
    with dying("sent", 2):
        past.drain()
    past.start()
    past.drain()
    past.save()
    assert len(past.predictions()) > 60
    _, checked = replayed(past)
    assert (checked.predictions, checked.differences) == (60, 0)
