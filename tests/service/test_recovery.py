"""Whatever kills a learner, and whenever: each event is predicted once, each label is learned once, and the weights are
those of a learner that was never disturbed."""

import shutil
from collections import Counter
from contextlib import contextmanager

import orjson
import pytest
import torch
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

from streamlearn.config.settings import check
from streamlearn.core.errors import ConfigError, FencedError, StreamlearnError, TransactionAbortedError
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal_reader import JournalLog
from streamlearn.durability.publisher import ATTEMPTS
from streamlearn.durability.recovery_plan import DEATHS, plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.service.assembly import assemble
from streamlearn.service.recovery import Recovery
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message, TopicPartition

IDS = {"events": "first"}


class Died(BaseException):
    """What SIGKILL is to a process."""


class Past:
    """A log, a snapshot folder, and one learner after the other on them."""

    def __init__(self, model, folder, *, partitions=2, transactional=True, labels=False, **sections):
        self.now = 1_700_000_000.0
        self.log = MemoryLog(clock=lambda: int(self.now * 1000))
        self.model, self.folder, self.transactional, self.sections = model, folder, transactional, sections
        self.inputs_ = ["events", "labels"] if labels else ["events"]
        for topic in (*self.inputs_, "test.predictions", "test.dead-letters"):
            self.log.create(topic, partitions)
        self.log.create("test.journal", 1)
        self.topic_ids, self.keep = IDS, 2
        self.service = None
        self.produced = 0
        self.stop_at_once = False

    def settings(self, **sections):
        return check(
            {
                "name": "test",
                "kafka": {"topics": dict(zip(("events", "labels"), self.inputs_, strict=False))},
                "model": {"name": str(self.model), "device": "cpu"},
                "task": "sequence-classification",
                "learner": {"batch_size": 4, "replay_size": 4},
                "serving": {"max_batch": 8},
                "memory": {"capacity": 12},
                "probes": {"share": 0.2},
                "snapshots": {"path": str(self.folder)},
                **self.sections,
                **sections,
            }
        )

    @contextmanager
    def open_journal(self):
        yield JournalLog(MemorySource(self.log, ["test.journal"]), "test.journal")

    @contextmanager
    def inputs(self, positions):
        yield MemorySource(self.log, self.inputs_, positions=positions, accept_loss=True)

    def start(self, *, accept_loss=False, every_seconds=1e12, deadly=None, **sections):
        """Begin as a new process does; what the one before held in memory is gone."""
        configured = self.settings(recovery={"accept_loss": accept_loss}, **sections)
        outlet = MemoryOutlet(self.log, group="g", transactional_id="streamlearn.test" if self.transactional else None)
        with self.open_journal() as journal_log:
            found = plan(journal_log, self.keep)
        gone = found.gone(self.topic_ids, accept_loss=accept_loss)
        source = MemorySource(
            self.log,
            self.inputs_,
            positions={tp: offset for tp, offset in found.positions.items() if tp.topic not in gone},
            accept_loss=accept_loss,
        )
        self.service = service = assemble(configured, source, outlet, clock=lambda: self.now)
        snapshots = Snapshots(str(self.folder), keep=self.keep)
        self.recovery = Recovery(
            found, snapshots, self.open_journal, self.inputs, topic_ids=self.topic_ids, accept_loss=accept_loss
        )
        if deadly is not None:
            update = service.learner.update
            service.learner.update = lambda samples: deadly(samples, update)
        if self.stop_at_once:
            service.stop.set()
        self.restored = self.recovery.run(service)
        service.keeper = SnapshotKeeper(
            snapshots,
            self.open_journal,
            every_seconds=every_seconds,
            made_by={},
            named=found.names,
            now=found.saved_at(self.now),
        )
        if self.recovery.lost:
            service.keeper.save(service, self.now)
        return service

    def produce(self, count, classes=3):
        first, self.produced = self.produced, self.produced + count
        values = [
            {"id": f"e{i}", "text": f"w{i % classes} w{i % 7}", "label": f"c{i % classes}" if i % 5 else None}
            for i in range(first, first + count)
        ]
        self.log.append("events", [Message(orjson.dumps(value), value["id"].encode()) for value in values])

    def drain(self):
        while self.service._held or not self.service.source.at_end():
            self.service.turn()

    def save(self):
        return self.service.keeper.save(self.service, self.now)

    def lives(self, parts, count):
        """Start, and take so many parts of the stream, with a snapshot after each."""
        self.start()
        for _ in range(parts):
            self.produce(count)
            self.drain()
            self.save()

    def predictions(self):
        return [orjson.loads(record.value) for record in self.log.records("test.predictions")]

    def records(self, kind=journal.Batch):
        with self.open_journal() as journal_log:
            records = [entry.record for entry in journal_log.read(journal_log.begins)]
        return [record for record in records if isinstance(record, kind)]

    def follower(self):
        """Learn the whole journal again in a service that never published anything."""
        source = MemorySource(self.log, self.inputs_)
        service = assemble(self.settings(), source, MemoryOutlet(MemoryLog()), clock=lambda: self.now)
        recovery = Recovery(plan_of(self), Snapshots(str(self.folder / "none")), self.open_journal, self.inputs)
        turns = [turn for _, turn in recovery.follow(service, None) if turn is not None]
        return service, [prediction for turn in turns for prediction in turn.predictions]


def plan_of(past):
    with past.open_journal() as journal_log:
        return plan(journal_log, past.keep)


def image(service):
    """All that is to be the same."""
    summary = service.summary()
    names = ("events", "predictions", "labels", "dead_letters", "learner_step", "samples_learned", "weights_sha256")
    return {name: summary[name] for name in (*names, "prequential_accuracy", "forgetting")}


@contextmanager
def dying(name, times=1):
    """Die at a failpoint, at its so manieth time."""
    seen = Counter()

    def die(reached):
        seen[reached] += 1
        if reached == name and seen[name] == times:
            raise Died

    failpoints.listen(die)
    try:
        yield
    except Died:
        pass
    finally:
        failpoints.listen(None)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def past(tiny, tmp_path):
    return Past(tiny, tmp_path / "state")


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
        while past.service._held or not past.service.source.at_end():
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
    assert past.service.disagreements == follower.disagreements == 0
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
    assert past.service.summary()["this_run"]["events"] == 0


def test_snapshots_are_bounded_and_counted(past):
    past.start()
    for _ in range(5):
        past.produce(4)
        past.drain()
        assert past.save()
    assert past.service.keeper.outcomes == {"written": 5}
    named = [record.name for record in past.records(journal.Snapshot)]
    assert Snapshots(str(past.folder)).names() == named[-2:]
    past.start()
    past.produce(4)
    past.drain()
    past.save()
    named = [record.name for record in past.records(journal.Snapshot)]
    assert Snapshots(str(past.folder)).names() == named[-2:]


def test_what_is_not_named_is_no_snapshot(past):
    past.produce(30)
    past.start()
    past.service.turn()
    with dying("snapshot-written"):
        past.save()
    assert len(Snapshots(str(past.folder)).names()) == 1
    past.start()
    past.drain()
    assert past.recovery.found.named == []
    past.save()
    assert Snapshots(str(past.folder)).names() == [record.name for record in past.records(journal.Snapshot)]


def damage(folder, name, how):
    for file in (folder / name).glob("*.safetensors"):
        data = bytearray(file.read_bytes())
        if how == "cut":
            file.write_bytes(data[: len(data) // 2])
        elif how == "flipped" and data:
            data[-1] ^= 1
            file.write_bytes(data)
        elif how == "gone":
            file.unlink()


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


def test_a_journal_that_lost_its_beginning_needs_its_snapshots(past):
    past.lives(2, 8)
    past.log.truncate(TopicPartition("test.journal", 0), 3)
    past.start()
    shutil.rmtree(past.folder)
    with pytest.raises(StreamlearnError, match=r"(?s)journal begins with record.*put back a snapshot"):
        past.start()


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


def test_an_aborted_transaction_is_tried_again(past):
    past.produce(20)
    service = past.start()
    outlet, commit = service.publisher.outlet, service.publisher.outlet.commit
    refused = iter([True, True])

    def refusing(positions):
        if next(refused, False):
            outlet.abort()
            raise TransactionAbortedError("refused")
        commit(positions)

    outlet.commit = refusing
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}
    assert service.publisher.commits["aborted"] == 2
    refused = iter([True] * ATTEMPTS)
    past.produce(2)
    with pytest.raises(StreamlearnError, match="refused"):
        past.drain()


class Kills:
    """A model that does not survive one text."""

    def __init__(self, predictor, text):
        self.predictor, self.text = predictor, text

    def predict(self, texts):
        if any(self.text in text for text in texts):
            raise Died
        return self.predictor.predict(texts)


def test_a_record_that_kills_becomes_a_dead_letter(past, caplog):
    past.produce(20)
    past.log.append("events", [Message(b'{"id": "killer", "text": "w1 boom", "label": "c1"}', b"killer")])
    past.produce(20)
    starts, done = 0, False
    while not done:
        starts += 1
        service = past.start()
        service.predictor = Kills(service.predictor, "boom")
        try:
            past.drain()
            done = True
        except Died:
            assert starts < 12
    assert starts == DEATHS + 3  # two deaths while it was taken alone make it certain
    assert "has killed the process time and again" in caplog.text
    dead = [dict(record.headers) for record in past.log.records("test.dead-letters")]
    assert [letter["streamlearn.reason"] for letter in dead] == [b"crashed"]
    assert sorted(p["id"] for p in past.predictions()) == sorted(f"e{i}" for i in range(40))
    assert past.service.suspect is None
    before = image(past.service)
    past.start()
    assert image(past.service) == before


def test_labels_that_kill_are_discarded(past, caplog):
    past.produce(20)
    killer = {"id": "killer", "text": "w1 boom", "label": "c1"}
    past.log.append("events", [Message(orjson.dumps(killer), b"killer")])
    past.produce(20)
    past.sections["probes"] = {"share": 0}
    starts, done = 0, False

    def dies(samples, update):
        if any(sample.id == "killer" for sample in samples):
            raise Died
        return update(samples)

    while not done:
        starts += 1
        assert starts < 12
        try:
            past.start(deadly=dies)
            past.drain()
            done = True
        except Died:
            pass
    assert "kill the process: they are not learned" in caplog.text
    labels = past.service.totals.labels
    assert 0 < labels["discarded"] <= 12
    assert labels.total() + len(past.service.learner.waiting) == 33  # of 41, each fifth without
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}
    before = image(past.service)
    past.start(deadly=dies)
    assert image(past.service) == before
    follower, _ = past.follower()
    assert image(follower) == before


def test_a_record_that_kills_is_found_while_other_partitions_move(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    killer = Message(b'{"id": "killer", "text": "w1 boom", "label": "c1"}', b"killer")
    past.log.append("events", [killer], partition=1)
    starts = 0
    while not past.log.records("test.dead-letters"):
        starts += 1
        assert starts < 15
        past.produce(4)
        service = past.start()
        service.predictor = Kills(service.predictor, "boom")
        with dying("started", 2):
            past.drain()
    assert len(past.log.records("test.dead-letters")) == 1
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}


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
    before = past.start().summary()["events"]
    assert before == 60
    assert service.summary()["events"] < 60


def test_a_full_disk_stops_nothing(past, caplog, monkeypatch):
    past.produce(20)
    past.start(every_seconds=1)
    past.folder.parent.mkdir(exist_ok=True)
    shutil.rmtree(past.folder, ignore_errors=True)
    past.folder.write_text("a file is in its way")
    for _ in range(3):
        past.now += 2
        past.service.turn()
    assert past.service.keeper.outcomes["failed"] >= 2
    assert "no snapshot was written, and the learner goes on" in caplog.text
    past.folder.unlink()
    past.now += 2
    past.service.turn()
    assert past.service.keeper.outcomes["written"] == 1


def test_the_horizon_is_told_before_retention_takes_what_is_needed(past, caplog):
    past.produce(4)
    service = past.start()
    keeper = SnapshotKeeper(
        service.keeper.snapshots,
        past.open_journal,
        every_seconds=10,
        made_by={},
        retention={"events": 100.0},
        now=past.now,
    )
    service.keeper = keeper
    assert keeper.horizon(service, past.now) == 100
    service.turn()
    past.now += 5
    assert keeper.horizon(service, past.now) == 95
    shutil.rmtree(past.folder, ignore_errors=True)
    past.folder.write_text("a file is in its way")
    past.now += 80
    service.turn()
    assert keeper.horizon(service, past.now) == 15
    assert "records that a restart needs are deleted in 15 s" in caplog.text
    past.folder.unlink()
    past.now += 10
    service.turn()
    assert keeper.horizon(service, past.now) == 100


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
        def damage(self):
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
            assert follower.disagreements == self.past.service.disagreements == 0

    return Protocol


def test_the_protocol_in_any_order(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
