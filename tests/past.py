"""A service that lives more than once: a log, a snapshot folder, and one process after the other on them."""

from collections import Counter
from contextlib import contextmanager

import orjson

from streamlearn.config.settings import check
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal_reader import JournalLog
from streamlearn.durability.recovery_plan import plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.observability.summary import summary
from streamlearn.service.assembly import assemble
from streamlearn.service.recovery import Recovery
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from streamlearn.service.warm_start import ROWS, WarmStart
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message

IDS = {"events": "first"}


class Died(BaseException):
    """What SIGKILL is to a process."""


class Past:
    """A log, a snapshot folder, and one learner after the other on them."""

    def __init__(self, model, folder, *, partitions=2, transactional=True, labels=False, **sections):
        self.now = 1_700_000_000.0
        self.set_back = 0.0  # seconds by which the clock was set back: the timer does not know of it
        self.log = MemoryLog(clock=lambda: int(self.now * 1000))
        self.model, self.folder, self.transactional, self.sections = model, folder, transactional, sections
        self.inputs_ = ["events", "labels"] if labels else ["events"]
        for topic in (*self.inputs_, "test.predictions", "test.dead-letters"):
            self.log.create(topic, partitions)
        self.log.create("test.journal", 1)
        self.topic_ids, self.keep = IDS, 2
        self.part = ROWS  # of a warm start
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

    def assemble(self, *, accept_loss=False, **sections):
        """Return a service as a new process makes it, and what brings it to where the last one stopped."""
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
        service = assemble(configured, source, outlet, clock=lambda: self.now, timer=lambda: self.now + self.set_back)
        recovery = Recovery(
            found,
            Snapshots(str(self.folder), keep=self.keep),
            self.open_journal,
            self.inputs,
            warm=WarmStart(configured.root.warm_start, self.part),
            topic_ids=self.topic_ids,
            accept_loss=accept_loss,
        )
        return service, recovery

    def start(self, *, every_seconds=1e12, deadly=None, **options):
        """Begin as a new process does; what the one before held in memory is gone."""
        self.service, self.recovery = service, recovery = self.assemble(**options)
        if deadly is not None:
            update = service.learner.update
            service.learner.update = lambda samples: deadly(samples, update)
        if self.stop_at_once:
            service.lifecycle.stop.set()
        self.restored = recovery.run(service)
        keeper = SnapshotKeeper(
            recovery.snapshots,
            self.open_journal,
            service.state,
            service.publisher,
            service.stages,
            every_seconds=every_seconds,
            made_by={"snapshots": {"keep": self.keep, "every_seconds": 60}},
            named=recovery.found.names,
            age=self.now - recovery.found.saved_at(self.now),
            timer=service.timer,
        )
        service.keep(keeper)
        if recovery.lost:
            keeper.save(self.now)
        return service

    def put_clock_back(self, seconds):
        self.now, self.set_back = self.now - seconds, self.set_back + seconds

    def produce(self, count, classes=3):
        first, self.produced = self.produced, self.produced + count
        values = [
            {"id": f"e{i}", "text": f"w{i % classes} w{i % 7}", "label": f"c{i % classes}" if i % 5 else None}
            for i in range(first, first + count)
        ]
        self.log.append("events", [Message(orjson.dumps(value), value["id"].encode()) for value in values])

    def drain(self):
        while self.service.poison.held or not self.service.source.at_end():
            self.service.turn()

    def save(self):
        return self.service.keeper.save(self.now)

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
        warm = WarmStart(service.root.warm_start)
        recovery = Recovery(
            plan_of(self), Snapshots(str(self.folder / "none")), self.open_journal, self.inputs, warm=warm
        )
        turns = [turn for _, turn in recovery.follow(service, None) if turn is not None]
        return service, [prediction for turn in turns for prediction in turn.predictions]


def plan_of(past):
    with past.open_journal() as journal_log:
        return plan(journal_log, past.keep)


def image(service):
    """All that is to be the same."""
    told = summary(service)
    names = ("events", "predictions", "labels", "dead_letters", "learner_step", "samples_learned", "weights_sha256")
    return {name: told[name] for name in (*names, "prequential_accuracy", "forgetting")}


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


def send(past, *steps):
    for topic, event_id, value in steps:
        data = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
        past.log.append(topic, [Message(data, event_id.encode())])


def event(event_id, label=None, text="w1 w2", **more):
    return "events", event_id, {"id": event_id, "text": text, **({} if label is None else {"label": label}), **more}


def label(event_id, name, **more):
    return "labels", event_id, {"id": event_id, "label": name, **more}


def labels(past):
    return dict(past.service.totals.labels)


def learned(past):
    """What was handed to the learner, by id."""
    return {sample.id: sample.label for sample in past.service.learner.waiting}


def letters(past):
    return [record.taken for record in past.records()]


def forget(event_id, topic="labels"):
    return topic, event_id, None
