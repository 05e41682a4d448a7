"""Whatever kills a learner, and whenever: each event is predicted once, each label is learned once, and the weights are
those of a learner that was never disturbed."""

import shutil
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streamlearn.core.errors import ConfigError, FencedError, StreamlearnError
from streamlearn.durability import failpoints, journal
from streamlearn.stream.transport import TopicPartition
from tests.past import Past, damage, dying, image

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def undisturbed(tiny, tmp_path):
    """The same stream in the same batches, in one process."""
    other = Past(tiny, tmp_path / "other")
    other.start()
    return other


@pytest.mark.parametrize("name", failpoints.NAMES)
@pytest.mark.parametrize("transactional", [True, False])
def test_a_death_at_any_failpoint_changes_nothing(tiny, tmp_path, undisturbed, name, transactional):
    past = Past(tiny, tmp_path / "state", transactional=transactional)
    for each in (past, undisturbed):
        each.produce(60)
    past.start(every_seconds=3)
    with dying("learned", 2):
        past.drain()
    with dying(name, 1 if name in {"started", "reapplied", "snapshot-written", "snapshot-named"} else 2):
        past.start(every_seconds=3)
        while past.service.poison.held or not past.service.source.at_end():
            past.now += 1
            past.service.turn()
    past.start()
    past.drain()
    undisturbed.drain()
    made = Counter(p["id"] for p in past.predictions())
    assert set(made) == {f"e{i}" for i in range(60)}
    if transactional or name != "sent":
        assert set(made.values()) == {1}
    else:
        assert max(made.values()) == 2
        assert sum(made.values()) <= 60 + 8
    taken = "".join(record.taken for record in past.records())
    assert len(taken) == 60
    follower, again = past.follower()
    assert image(follower) == image(past.service)
    assert past.service.lifecycle.disagreements == follower.lifecycle.disagreements == 0
    assert {p.id: p.score for p in again} == {p["id"]: p["score"] for p in past.predictions()}


def test_one_partition_with_deaths_ends_as_without(tiny, tmp_path):
    """One partition has one order, in which samples are learned however they are polled. What was served differs: after
    so many deaths records are taken one by one."""
    same, ends = ("events", "labels", "learner_step", "samples_learned", "weights_sha256"), []
    for deaths in (0, 12):
        past = Past(tiny, tmp_path / f"deaths-{deaths}", partitions=1)
        past.produce(150, classes=5)
        past.start()
        for death in range(deaths):
            with dying(failpoints.NAMES[death % 3 + 2]):
                past.drain()
            past.start(every_seconds=1 + death % 3)
        past.drain()
        ends.append({name: image(past.service)[name] for name in same})
    assert ends[0] == ends[1]


def test_a_stop_in_order_leaves_nothing_to_apply_again(past):
    past.produce(20)
    past.start()
    past.drain()
    assert past.save()
    before = image(past.service)
    assert past.save()  # nothing happened since: no second one
    assert len(past.records(journal.Snapshot)) == 1
    past.start()
    assert image(past.service) == before
    assert past.recovery.found.batches == 0


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
@pytest.mark.parametrize("broken", [1, 2])
def test_a_damaged_snapshot_is_passed_over(past, caplog, how, broken):
    past.lives(3, 12)
    past.produce(12)
    past.drain()
    before = image(past.service)
    for name in past.service.keeper.named[-broken:]:
        damage(past.folder, name, how)
    past.start()
    assert image(past.service) == before
    assert caplog.text.count("trying the one before it") == broken
    assert ("learned again from the journal's first record" in caplog.text) == (broken == 2)


def test_without_any_snapshot_the_journal_is_enough(past):
    past.lives(3, 12)
    before = image(past.service)
    shutil.rmtree(past.folder)
    past.start()
    assert image(past.service) == before


def test_inputs_that_are_gone_are_refused_until_the_loss_is_accepted(past, caplog):
    past.produce(40)
    past.start()
    past.service.turn()
    past.save()
    past.drain()
    positions = past.service.source.positions()
    tp = TopicPartition("events", 0)
    past.log.truncate(tp, positions[tp] - 2)
    with pytest.raises(StreamlearnError, match=r"(?s)events\[0\].*were learned, and the log now gives.*accept_loss"):
        past.start()
    past.start(accept_loss=True)
    assert past.recovery.lost > 0
    assert "some records are gone" in caplog.text
    assert past.service.source.positions() == positions
    past.produce(5)
    past.drain()
    assert sorted(p["id"] for p in past.predictions()) == sorted(f"e{i}" for i in range(45))


def test_records_that_were_never_read_and_are_gone_are_refused(past):
    past.produce(10)
    past.start()
    past.drain()
    past.save()
    past.produce(40)
    tp = TopicPartition("events", 1)
    past.log.truncate(tp, past.log.bounds(tp)[1] - 1)
    with pytest.raises(StreamlearnError, match=r"(?s)events\[1\]: the next record.*was deleted.*accept_loss"):
        past.start()
    past.start(accept_loss=True)
    past.drain()


def test_a_change_in_the_middle_of_what_is_to_be_learned_again_is_refused(past):
    past.produce(40)
    past.start()
    past.service.turn()
    with pytest.raises(ConfigError, match=r"(?s)learner.batch_size: changed since 1 batches.*--max-events 0"):
        past.start(learner={"batch_size": 2, "replay_size": 4})
    past.start(serving={"max_batch": 3})  # this one changes nothing that is learned
    past.save()
    past.start(learner={"batch_size": 2, "replay_size": 4})
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}


def test_an_earlier_learner_is_locked_out(past):
    past.produce(30)
    zombie = past.start()
    zombie.turn()
    past.start()
    with pytest.raises(FencedError):
        zombie.turn()
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}


def test_without_transactions_what_an_earlier_learner_still_writes_is_void(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state", transactional=False)
    past.produce(60)
    zombie = past.start()
    zombie.turn()
    past.start()
    zombie.turn()
    past.drain()
    past.save()
    before = image(past.service)
    shutil.rmtree(past.folder)
    past.start()
    assert image(past.service) == before
    assert sum(before["labels"].values()) + len(past.service.learner.waiting) == 48  # of 60, each fifth without


class Stumbles:
    """A model that fails on its first batch, and on nothing by itself."""

    def __init__(self, predictor):
        self.predictor, self.failed = predictor, False

    def predict(self, texts):
        if len(texts) > 1 and not self.failed:
            self.failed = True
            raise RuntimeError("out of memory")
        return self.predictor.predict(texts)


def test_a_batch_that_was_answered_one_by_one_comes_again_so(past):
    past.produce(40)
    service = past.start()
    past.service.turn()
    service.predictor = Stumbles(service.predictor)
    past.drain()
    assert [record.crashed for record in past.records()].count(()) == 1
    follower, again = past.follower()
    assert image(follower) == image(past.service)
    assert {p.id: p.score for p in again} == {p["id"]: p["score"] for p in past.predictions()}


def test_a_log_that_lost_its_end_is_no_reason_to_begin_anew(past):
    past.produce(40)
    past.start()
    past.drain()
    past.save()
    part = past.log._topics["events"][0]
    del part.entries[-1]
    with pytest.raises(StreamlearnError, match="past the log's end"):
        past.start()
    past.start(accept_loss=True)
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}


def test_a_topic_made_anew_comes_again_as_it_was_read(past):
    """What was learned from the new topic is applied again, and what was in the old one is not taken for it."""
    past.produce(40)
    past.start()
    past.drain()
    past.save()
    past.log.delete("events")
    past.log.create("events", 2)
    past.topic_ids = {"events": "second"}
    past.produce(40)
    with dying("started"):
        past.start(accept_loss=True)
    past.start(accept_loss=True)
    past.drain()
    before = image(past.service)
    past.start()
    assert image(past.service) == before
    assert before["events"] == 80


def test_another_optimizer_begins_without_moments(past, caplog):
    past.produce(20)
    past.start(learner={"optimizer": "sgd", "batch_size": 4})
    past.drain()
    past.save()
    past.start(learner={"optimizer": "adamw", "batch_size": 4})
    assert "adamw begins anew, after sgd" in caplog.text
    past.produce(20)
    past.drain()
    before = image(past.service)
    past.start(learner={"optimizer": "adamw", "batch_size": 4})
    assert image(past.service) == before


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"memory": {"capacity": 3}}, "memory.capacity"),
        ({"model": {"name": "tiny", "device": "cpu", "max_length": 5}}, "model.max_length"),
        ({"task": {"name": "sequence-classification", "labels": ["c0", "c1", "c2", "c3"]}}, "task.labels"),
    ],
)
def test_a_change_that_does_not_fit_the_state_is_refused_before_anything_is_written(past, changes, where):
    past.produce(30)
    past.start()
    past.drain()
    past.save()
    if "model" in changes:
        changes["model"]["name"] = str(past.model)
    with pytest.raises(ConfigError, match=where):
        past.start(**changes)
    assert len(past.records(journal.Start)) == 1


def test_a_stop_while_the_past_is_applied_is_heeded(past):
    past.produce(60)
    past.start()
    past.drain()
    past.stop_at_once = True
    service = past.start()
    assert not past.restored
    past.stop_at_once = False
    before = past.start().totals.events
    assert before == 60
    assert service.totals.events < 60


@pytest.fixture(scope="module")
def machine(tiny, tmp_path_factory):  # noqa: C901 - the rules of a machine stand in one class
    """The protocol as a state machine: deaths between and within its steps, in any order."""

    class Protocol(RuleBasedStateMachine):
        @initialize(partitions=st.integers(1, 3), transactional=st.booleans())
        def begin(self, partitions, transactional):
            folder = tmp_path_factory.mktemp("protocol") / "state"
            self.past = Past(tiny, folder, partitions=partitions, transactional=transactional)
            self.repeated = 0
            self.past.start()

        @rule(count=st.integers(1, 20), classes=st.integers(1, 4))
        def produce(self, count, classes):
            self.past.produce(count, classes)

        @rule(seconds=st.sampled_from([0.5, 6.0]))
        def turn(self, seconds):
            self.past.now += seconds
            self.past.service.turn()

        @rule()
        def flush(self):
            self.past.service.flush()

        @rule()
        def save(self):
            self.past.save()

        @rule()
        def die_between_two_turns(self):
            self.past.start()

        @rule(name=st.sampled_from(failpoints.NAMES), times=st.integers(1, 2))
        def die_within(self, name, times):
            self.repeated += 8 * (name == "sent")
            with dying(name, times):
                for _ in range(2):
                    self.past.service.turn()
                    self.past.save()
                self.past.start()
            self.past.start()

        @precondition(lambda self: self.past.service.keeper.named)
        @rule()
        def break_one(self):
            damage(self.past.folder, self.past.service.keeper.named[-1], "flipped")

        @invariant()
        def nothing_is_lost_or_repeated(self):
            if not hasattr(self, "past"):
                return
            made = Counter(p["id"] for p in self.past.predictions())
            repeated = made.total() - len(made)
            assert repeated <= (0 if self.past.transactional else self.repeated)
            covered = Counter()
            for record in self.past.records():
                covered.update((r.topic, r.partition, o) for r in record.ranges for o in range(r.start, r.next))
            assert not covered or set(covered.values()) == {1}
            ahead = len(made) - len(covered)  # without transactions a batch is out before the journal has it
            assert 0 <= ahead <= (0 if self.past.transactional else 8)

        def teardown(self):
            self.past.start()
            self.past.drain()
            assert {p["id"] for p in self.past.predictions()} == {f"e{i}" for i in range(self.past.produced)}
            follower, _ = self.past.follower()
            assert image(follower) == image(self.past.service)
            assert follower.lifecycle.disagreements == self.past.service.lifecycle.disagreements == 0

    return Protocol


def test_the_protocol_in_any_order(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
