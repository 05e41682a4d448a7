"""What a learner of 0.1.0 left behind, this version goes on with: its snapshot, its journal, its configuration.

The sets in `tests/data/upgrade-0.1.0` were written by 0.1.0, on the small model. What follows from the records is the
same on any machine: what became of each record, steps, counts, the journal. What follows from sums is the same to the
last bit on machinery like the recorded one, and close to it elsewhere.
"""

import gzip
import json
import platform
import shutil
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
import torch

from streamlearn.config.settings import load
from streamlearn.config.upgrades import as_begun
from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal, snapshots
from streamlearn.durability.journal_reader import JournalLog
from streamlearn.durability.recovery_plan import plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.observability.summary import summary
from streamlearn.service.assembly import assemble
from streamlearn.service.recovery import Recovery
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message
from tests.models import save

HERE = Path(__file__).parent.parent / "data" / "upgrade-0.1.0"
SETS = ("dual", "er")
CLOSE = 1e-3  # of a score, on other machinery; with other instructions of the same processor it was 1e-6
# Of a journal record: what says which version and machinery wrote it.
WRITER = {"version", "torch", "instruction_set", "threads", "configuration", "configuration_sha256"}


class Left:
    """What was left behind, in a log and a state folder of this test's own; and one learner after the other on it."""

    def __init__(self, folder):
        self.folder, self.now = folder, 0.0
        self.expected = json.loads((folder / "expected.json").read_text())
        self.settings = load(Path("config.yaml"), environment={})
        self.topics = self.settings.root.kafka.topics
        self.records = [
            json.loads(line) for line in gzip.decompress((folder / "topics.jsonl.gz").read_bytes()).splitlines()
        ]
        self.log = MemoryLog(clock=lambda: int(self.now * 1000))
        for topic in (*self.topics.inputs, self.topics.predictions, self.topics.dead_letters):
            self.log.create(topic, 2)
        self.log.create(self.topics.journal, 1)
        outlet = MemoryOutlet(self.log, transactional_id="what was there")
        self.told = [json.loads(each["value"]) for each in self.records if each["topic"] == self.topics.journal]
        for (topic, partition), some in groupby(self.records, key=itemgetter("topic", "partition")):
            for run in runs(some):
                outlet.begin()
                for each in run:
                    self.now = each["timestamp"] / 1000
                    if topic in self.topics.inputs:
                        self.log.append(topic, [message(each)], partition=partition)
                    else:
                        outlet.send(topic, [message(each)])
                outlet.commit({})  # its marker takes an offset, as that of 0.1.0's transaction did
        for each, own in zip(self.records, self.all(), strict=True):
            assert (each["topic"], each["partition"], each["offset"], each["timestamp"]) == (*own[:3], own.timestamp)
        self.service = self.recovery = None

    def all(self):
        return [each for topic in dict.fromkeys(e["topic"] for e in self.records) for each in self.log.records(topic)]

    @contextmanager
    def open_journal(self):
        yield JournalLog(MemorySource(self.log, [self.topics.journal]), self.topics.journal)

    @contextmanager
    def inputs(self, positions):
        yield MemorySource(self.log, self.topics.inputs, positions=positions)

    def prepare(self):
        """Do what comes before the recovery."""
        root = self.settings.root
        outlet = MemoryOutlet(self.log, group=root.kafka.group_id, transactional_id=f"streamlearn.{root.name}")
        with self.open_journal() as journal_log:
            found = plan(journal_log, root.snapshots.keep)
        ids = found.last_start.topic_ids
        assert not found.gone(ids, accept_loss=False)
        source = MemorySource(self.log, self.topics.inputs, positions=found.positions)
        self.settings = as_begun(self.settings, found.last_start.configuration)
        self.service = assemble(self.settings, source, outlet, clock=lambda: self.now)
        store = Snapshots(root.snapshots.path, keep=root.snapshots.keep)
        self.recovery = Recovery(
            found, store, self.open_journal, self.inputs, warm=WarmStart(root.warm_start), topic_ids=ids
        )

    def start(self):
        """Begin as a new process of this version does."""
        self.prepare()
        assert self.recovery.run(self.service)
        found = self.recovery.found
        service = self.service
        self.keeper = SnapshotKeeper(
            self.recovery.snapshots,
            self.open_journal,
            service.state,
            service.publisher,
            service.stages,
            every_seconds=1e12,
            made_by={},
            named=found.names,
            timer=service.timer,
        )
        service.keep(self.keeper)

    def go_on(self):
        """Take what came after 0.1.0 had left."""
        lines = [json.loads(line) for line in (self.folder / "continue.jsonl").read_text().splitlines()]
        for now, some in groupby(lines, key=itemgetter("now")):
            self.now = now
            for each in some:
                self.log.append(each["topic"], [message(each)])
            while not self.service.source.at_end():
                self.service.turn()
        self.service.flush()

    def after(self, topic):
        """The values of a topic that came after what 0.1.0 had left."""
        before = {
            tuple(each[key] for key in ("partition", "offset")) for each in self.records if each["topic"] == topic
        }
        return [json.loads(r.value) for r in self.log.records(topic) if (r.partition, r.offset) not in before]

    @property
    def alike(self):
        """Whether sums come out here as they did where the set was written."""
        here = {
            "torch": torch.__version__,
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "cpu": cpu(),
        }
        return here == {key: self.expected["machine"][key] for key in here}

    def check(self, expected):
        """See that the service counts what 0.1.0 counted; and has its weights, where sums come out alike."""
        told = summary(self.service)
        of_sums = {"weights_sha256", "prequential_accuracy", "forgetting"}
        names = [name for name in expected if self.alike or name not in of_sums]
        assert {name: told[name] for name in names} == {name: expected[name] for name in names}


def runs(records):
    """Cut a partition's records where an offset has none: there a transaction ended."""
    run = []
    for each in records:
        if run and each["offset"] != run[-1]["offset"] + 1:
            yield run
            run = []
        run.append(each)
    yield run


def message(each):
    headers = tuple((name, content.encode()) for name, content in each.get("headers", ()))
    value, key = (each[part] if each[part] is None else each[part].encode() for part in ("value", "key"))
    return Message(value, key, headers)


def keys(value, path=()):
    """Return the paths to all keys, through dicts alone; a tensor is called as a part is free to call it."""
    if not isinstance(value, dict):
        return set()
    return {(*path, key) for key in value} | {each for key in value for each in keys(value[key], (*path, key))}


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), platform.machine())


@pytest.fixture(params=SETS)
def left(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the configuration's paths are relative: the model's name is part of the past
    folder = HERE / request.param
    save(Path("tiny"))
    shutil.copytree(folder / "state", "state")
    shutil.copy(folder / "config.yaml", "config.yaml")
    return Left(folder)


def test_its_snapshot_is_loaded_bit_for_bit(left):
    left.prepare()
    pointer = left.recovery.load(left.service)
    (named,) = [each for each in left.told if each["kind"] == "snapshot"]
    assert pointer.at_seq == named["seq"]
    assert left.service.learner.sha256() == named["weights_sha256"]
    assert left.service.learner.step == named["model_step"]


def test_its_journal_is_learned_again(left, caplog):
    left.now = left.expected["restarted_at"]
    left.start()
    assert left.recovery.found.batches == left.expected["batches_learned_again"] > 0
    assert left.service.lifecycle.disagreements == left.recovery.lost == 0
    assert "trying the one before it" not in caplog.text
    left.check(left.expected["restored"])
    assert left.after(left.topics.predictions) == []


def test_what_comes_next_is_predicted_and_learned_as_there(left):
    left.now = left.expected["restarted_at"]
    left.start()
    left.go_on()
    left.check(left.expected["continued"])
    records, then = left.after(left.topics.journal), left.expected["journal"]
    assert [each["kind"] for each in records] == [each["kind"] for each in then]
    for own, each in zip(records, then, strict=True):
        assert {key: own[key] for key in each if key not in WRITER} == {
            k: v for k, v in each.items() if k not in WRITER
        }
    assert len(left.log.records(left.topics.dead_letters)) == left.expected["dead_letters"]
    predictions, then = left.after(left.topics.predictions), left.expected["predictions"]
    if left.alike:
        assert [{key: own[key] for key in each} for own, each in zip(predictions, then, strict=True)] == then
    for own, each in zip(predictions, then, strict=True):
        exact = ("id", "model_step", "champion_step", "source", "predicted_at")
        assert {key: own[key] for key in exact} == {key: each[key] for key in exact}
        scores = [{entry["label"]: entry["score"] for entry in said["top"]} for said in (own, each)]
        for label in scores[0].keys() & scores[1].keys():
            assert scores[0][label] == pytest.approx(scores[1][label], abs=CLOSE)
        first, second = ([entry["score"] for entry in each["top"]] + [0.0, 0.0])[:2]
        if first - second > 2 * CLOSE:
            assert own["top"][0]["label"] == each["top"][0]["label"]


def test_it_may_write_its_own_snapshot_and_come_back(left):
    left.now = left.expected["restarted_at"]
    left.start()
    left.go_on()
    before = left.service.learner.sha256()
    assert left.keeper.save(left.now)
    left.start()
    assert left.recovery.found.batches == 0
    assert left.service.learner.sha256() == before


def test_an_older_program_that_comes_back_finds_what_it_reads(left):
    """Whoever goes back to 0.1.0 may: it reads these snapshots. If a key of its own goes, the format's number rises."""
    left.now = left.expected["restarted_at"]
    left.start()
    left.go_on()
    assert left.keeper.save(left.now)
    first, *_, last = (Path("state") / each for each in left.recovery.snapshots.names())
    for part in set(first.glob("*.json")) - {first / "manifest.json"}:
        assert keys(json.loads(part.read_bytes())) <= keys(json.loads((last / part.name).read_bytes())), part


def test_a_journal_that_a_newer_version_went_on_with_is_refused(left):
    newest = left.told[-1]
    newer = {**newest, "format": journal.FORMAT + 1, "seq": newest["seq"] + 1, "unheard": "of"}
    left.log.append(left.topics.journal, [Message(json.dumps(newer).encode())])
    with pytest.raises(
        StreamlearnError, match=rf"format {journal.FORMAT + 1}, .* reads up to {journal.FORMAT}\n  -> install"
    ):
        left.prepare()


def test_a_snapshot_of_a_newer_version_is_refused_though_an_older_one_is_there(left):
    left.now = left.expected["restarted_at"]
    left.start()
    assert left.keeper.save(left.now)
    named = json.loads(left.log.records(left.topics.journal)[-1].value)
    manifest = Path("state") / named["name"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "format": snapshots.FORMAT + 1}))
    digest = sha256(manifest.read_bytes()).hexdigest()
    again = {**named, "seq": named["seq"] + 1, "manifest_sha256": digest}
    left.log.append(left.topics.journal, [Message(json.dumps(again).encode())])
    left.prepare()
    with pytest.raises(StreamlearnError, match=rf"the snapshot has format {snapshots.FORMAT + 1}, .*\n  -> install"):
        left.recovery.load(left.service)
