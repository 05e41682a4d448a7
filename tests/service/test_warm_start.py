"""A learner that begins with a labelled file: whatever kills it on the way, it ends as one that was left alone, and
what it serves is measured from its first event on."""

import gzip
import shutil
from collections import Counter

import orjson
import pytest
import torch

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.durability import failpoints, journal
from streamlearn.observability.status import status
from streamlearn.observability.web import readiness
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.transport import Message
from tests.models import save
from tests.past import Died, Past, dying, image

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 4
ROWS = 20  # of a part
WHOLE = 2 * ROWS + 10  # of the file


def rows(count, start=0, classes=CLASSES, **more):
    return [
        {"id": f"h{i}", "text": f"w{i % classes} w{i % 7}", **({"label": f"c{i % classes}"} if i % 9 else {}), **more}
        for i in range(start, start + count)
    ]


def written(path, values):
    lines = [value if isinstance(value, bytes) else orjson.dumps(value) for value in values]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "history.jsonl", rows(WHOLE))


class Life(Past):
    """Learners that begin with a file, one after the other."""

    def __init__(self, model, folder, file, **sections):
        super().__init__(model, folder, warm_start=str(file), **sections)
        self.part = ROWS

    def start(self, **options):
        super().start(**options)
        self.whole = self.restored and self.recovery.warm.begin(self.service)
        return self.service

    died = True

    def go(self, count=40):
        self.start()
        self.produce(count)
        self.drain()
        return image(self.service)


@pytest.fixture
def life(tiny, tmp_path, file):
    return Life(tiny, tmp_path / "state", file)


@pytest.fixture(scope="module")
def left_alone(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    torch.set_num_threads(1)
    return Life(tiny, folder / "state", written(folder / "history.jsonl", rows(WHOLE))).go()


def test_a_learner_knows_its_file_before_the_first_event(tiny, tmp_path, file):
    life = Life(tiny, tmp_path / "state", file)
    service = life.start()
    labelled = sum("label" in row for row in rows(WHOLE))
    assert service.totals.labels == {
        "learned": labelled - service.totals.labels["probe"],
        "probe": len(service.measures.probes),
    }
    assert 0 < len(service.measures.probes) < labelled / 2
    assert service.totals.samples_new == service.totals.labels["learned"]
    assert set(service.learner.task.groups) == {f"c{i}" for i in range(CLASSES)}
    assert service.learner.waiting == []  # the last batch too, though it is not full
    assert len(service.learner.memory) == 12
    assert set(service.measures.probes.accuracy()) == set(service.learner.task.groups)
    assert service.totals.events == service.measures.prequential.count == 0  # nothing was served
    assert life.predictions() == []
    assert [record.next for record in life.records(journal.Warm)] == [ROWS, 2 * ROWS, WHOLE]
    assert len(life.records(journal.Snapshot)) == 1
    life.produce(8)
    life.drain()
    assert {p["label"] for p in life.predictions()} <= set(service.learner.task.groups)
    assert all(p["reason"] is None for p in life.predictions())


def test_what_waits_is_cut_by_count_as_events_are(tiny, tmp_path, file):
    """The same samples as events give the same weights, but for what was predicted."""
    ends = []
    for share in (0, 0.2):
        life = Life(tiny, tmp_path / f"state-{share}", file, probes={"share": share})
        life.start()
        events = Past(tiny, tmp_path / f"events-{share}", partitions=1, probes={"share": share})
        events.start()
        for line in file.read_bytes().splitlines():
            events.log.append("events", [message(line)])
        events.drain()
        events.service.flush()
        assert life.service.learner.sha256() == events.service.learner.sha256()
        assert life.service.totals.labels == events.service.totals.labels
        ends.append(life.service.learner.step)
    assert ends[0] > ends[1] > 5


def message(line):
    return Message(line, b"k")


DEATHS = [
    ("started", 1),  # the journal has a start, and nothing of the file
    *((name, times) for name in ("warming", "warmed") for times in (1, 2, 3)),
    *((name, times) for name in ("sent", "committed") for times in (2, 4)),  # the first one is the start's
    ("snapshot-written", 1),
    ("snapshot-named", 1),
]


@pytest.mark.parametrize("death", DEATHS, ids="{0[0]}-{0[1]}".format)
@pytest.mark.parametrize("transactional", [True, False])
def test_a_death_in_the_middle_changes_nothing(life, left_alone, death, transactional):
    name, times = death
    life.transactional = transactional
    with dying(name, times):
        life.start()
        life.died = False
    assert life.died
    assert life.go() == left_alone
    assert life.service.lifecycle.disagreements == 0
    assert len("".join(record.taken for record in life.records(journal.Warm))) == WHOLE
    follower, _ = life.follower()
    assert image(follower) == left_alone
    assert follower.lifecycle.disagreements == 0


def test_many_deaths_change_nothing(life, left_alone):
    for name in ("started", "reapplied", "warmed", "reapplied", "warming", "warmed", "reapplied", "snapshot-written"):
        with dying(name):
            life.start()
    assert life.go() == left_alone


def test_a_stop_in_the_middle_goes_on_from_its_snapshot(life, left_alone):
    seen = []

    def stop(reached):
        if reached == "warming":
            seen.append((status(life.service), readiness(life.service)))
            life.service.lifecycle.stop.set()

    failpoints.listen(stop)
    try:
        life.start()
    finally:
        failpoints.listen(None)
    assert not life.whole
    assert seen[0][0] == "warming up"
    assert seen[0][1]["ok"] is False
    assert seen[0][1]["warm_start_rows"] == WHOLE
    assert [record.next for record in life.records(journal.Warm)] == [ROWS]
    assert len(life.records(journal.Snapshot)) == 1
    assert life.go() == left_alone
    assert life.recovery.found.batches == 0  # the snapshot has what was learned


def test_a_snapshot_makes_the_file_unnecessary(tiny, tmp_path, file, caplog):
    life = Life(tiny, tmp_path / "state", file)
    life.go()
    file.unlink()
    before = image(life.service)
    assert image(life.start()) == before
    del life.sections["warm_start"]
    assert image(life.start()) == before
    assert "warm" not in caplog.text.replace("warm start", "").replace("warm_start: ignored", "")


@pytest.mark.parametrize("how", ["gone", "changed", "not named"])
def test_a_file_that_is_gone_or_changed_is_refused_until_the_loss_is_accepted(tiny, tmp_path, file, how):
    life = Life(tiny, tmp_path / "state", file)
    with dying("warmed", 2):
        life.start()
    if how == "gone":
        file.unlink()
    elif how == "changed":
        file.write_bytes(file.read_bytes() + b'{"id": "x", "text": "w1", "label": "c1"}\n')
    else:
        del life.sections["warm_start"]
    told = {"gone": "no such file", "changed": "is not the file of which", "not named": "names no file"}[how]
    with pytest.raises(StreamlearnError, match=rf"(?s)warm_start.*{told}"):
        life.start()
    life.start(accept_loss=True)
    assert life.recovery.lost == 2
    assert life.service.learner.step == 0
    life.produce(20)
    life.drain()
    assert life.service.learner.step > 0
    life.save()
    life.start(accept_loss=True)


def test_looking_for_the_file_that_was_begun_is_progress(life):
    """/healthz looks at it: hashing a large file takes minutes."""
    with dying("warmed", 1):
        life.start()
    service, recovery = life.assemble()
    service.lifecycle.turned_at = began = service.lifecycle.turned_at - 1000
    recovery.warm.require(service, recovery.found.warm)
    assert service.lifecycle.turned_at > began + 900


def test_refusals_are_no_deaths(life, left_alone, file):
    with dying("warmed", 2):
        life.start()
    data, before = file.read_bytes(), len(life.records())
    for content in (None, b"{}\n") * 3:
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(StreamlearnError, match=r"in no snapshot yet|is not the file of which"):
            life.start()
    file.write_bytes(data)
    assert life.go() == left_alone
    assert not any(isinstance(each, journal.Attempt | journal.Discard) for each in life.records()[before:])
    assert not life.service.poison.on


def test_the_same_when_it_was_stopped_in_the_middle(tiny, tmp_path, file):
    life = Life(tiny, tmp_path / "state", file)
    failpoints.listen(lambda reached: reached == "warmed" and life.service.lifecycle.stop.set())
    try:
        life.start()
    finally:
        failpoints.listen(None)
    file.write_bytes(b"\n" + file.read_bytes())
    with pytest.raises(StreamlearnError, match="is not the file of which rows were learned"):
        life.start()


def test_another_configuration_in_the_middle_is_refused(tiny, tmp_path, file):
    life = Life(tiny, tmp_path / "state", file)
    with dying("warmed", 2):
        life.start()
    with pytest.raises(ConfigError, match=r"(?s)learner.batch_size: changed since 2 batches"):
        life.start(learner={"batch_size": 2, "replay_size": 4})
    moved = tmp_path / "elsewhere.jsonl"
    shutil.move(file, moved)  # where it lies is no matter
    life.start(warm_start=str(moved))


def test_a_learner_that_has_taken_events_is_too_old_for_it(tiny, tmp_path, file, caplog):
    past = Past(tiny, tmp_path / "state")
    past.start()
    past.produce(20)
    past.drain()
    past.save()
    before = image(past.service)
    past.sections["warm_start"] = str(file)
    past.start()
    assert WarmStart(str(file)).begin(past.service)
    assert image(past.service) == before
    assert "ignored, since this learner has taken events" in caplog.text


def test_labels_that_kill_are_discarded(tiny, tmp_path, file):
    """The second part kills, each time that it is learned."""
    life, parts = Life(tiny, tmp_path / "state", file), []

    def deadly(samples, update):
        if any(sample.id == f"h{ROWS + 9 + 1}" for sample in samples):
            raise Died
        return update(samples)

    for _ in range(9):
        try:
            life.start(deadly=deadly)
        except Died:
            continue
        parts.append(life.service.totals.labels["discarded"])
        break
    assert parts
    assert 0 < parts[0] <= ROWS + 4
    assert life.service.lifecycle.warmed.next == WHOLE
    assert len(life.records(journal.Discard)) == 1


def test_bad_rows_are_told_by_their_line(tiny, tmp_path, caplog):
    values = rows(30)
    values[3:3] = [b"{", b"", {"id": "x", "label": "c1"}, {"id": "y", "text": "w1", "label": True}]
    file = written(tmp_path / "history.jsonl.gz", values)
    life = Life(tiny, tmp_path / "state", file)
    service = life.start()
    assert f"{file} line 4: " in caplog.text
    assert f"{file} line 6: there is no 'text'" in caplog.text
    assert f"{file} line 7: 'label' is true" in caplog.text
    assert "3 of 33 rows" in caplog.text
    assert "".join(record.taken for record in life.records(journal.Warm)).count("d") == 3
    assert service.totals.labels.total() == 26
    assert service.totals.dead_letters == {}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("empty.jsonl", b"\n", "it is empty"),
        ("bad.jsonl", b"{\n[]\n", r"none of its 2 rows can be learned; .* line 1: "),
        ("unlabelled.jsonl", b'{"text": "w1"}\n', r"(?s)none of its 1 rows can be learned.*'label'"),
        ("wide.csv", b"text,label\nw1,a,b\n", r"wide.csv: CSV line 2: the row has more columns"),
        ("broken.jsonl.gz", b"no gzip", "cannot be read"),
    ],
)
def test_a_file_of_which_nothing_can_be_learned_is_refused(tiny, tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    life = Life(tiny, tmp_path / "state", tmp_path / name)
    with pytest.raises(ConfigError, match=told):
        life.start()


def test_other_fields_and_a_closed_set_of_labels(tiny, tmp_path):
    values = [{"n": i, "ticket": {"body": f"w{i}"}, "intent": "ab"[i % 2] if i else "other"} for i in range(40)]
    file = written(tmp_path / "h.jsonl", values)
    fields = {"id": "n", "text": "ticket.body", "label": "intent"}
    task = {"name": "sequence-classification", "labels": ["a", "b"]}
    life = Life(tiny, tmp_path / "state", file, fields=fields, task=task, probes={"share": 0})
    life.start()
    assert [record.taken for record in life.records(journal.Warm)] == ["d" + 19 * "l", 20 * "l"]
    assert list(life.service.learner.task.groups) == ["a", "b"]


@pytest.mark.parametrize("path", ["id", "$key"])
def test_rows_without_an_id_get_one_that_no_event_can_have(tiny, tmp_path, path):
    values = [{"text": f"w{i}", "label": "ab"[i % 2]} for i in range(10)]
    file = written(tmp_path / "h.jsonl", values)
    life = Life(tiny, tmp_path / "state", file, fields={"id": path}, probes={"share": 0}, memory={"capacity": 100})
    life.start()
    ids = set(life.service.learner.memory.state_dict()["ids"])
    digest = life.records(journal.Warm)[0].sha256
    assert ids == {f"warm_start:{digest[:32]}:{i}" for i in range(10)}


def test_a_fine_tuned_checkpoint_begins_with_its_labels_and_learns_the_files(tmp_path):
    """Its own head answers before anything is learned; after the warm start new labels stand beside the old ones."""
    model = save(tmp_path / "fine-tuned", "bert")
    names = ["buy", "sell", "refund", "lend"]
    values = [{"id": f"h{i}", "text": f"w{i % 4} w9", "label": names[i % 4]} for i in range(200)]
    file = written(tmp_path / "h.jsonl", values)
    learns = {"batch_size": 8, "replay_size": 8, "learning_rate": 1e-3, "head_learning_rate": 1e-2}
    for strategy in ("er", "ridge", "dual"):
        named = {"name": strategy, **({} if strategy == "er" else {"features": 300})}
        life = Life(
            model, tmp_path / strategy, file, strategy=named, learner=learns, memory={"capacity": 200}, partitions=1
        )
        with dying("warming"):
            life.start()
        life.log.append("events", [message(b'{"id": "e0", "text": "w1"}')])
        life.start()
        labels = list(life.service.learner.task.groups)
        assert labels[:3] == ["buy", "hold", "sell"]
        assert set(labels[3:]) == {"refund", "lend"}
        live = [message(orjson.dumps({"id": f"e{i}", "text": f"w{i % 4} w9"})) for i in range(1, 41)]
        life.log.append("events", live)
        life.drain()
        answers = Counter(p["label"] == values[int(p["id"][1:]) % 4]["label"] for p in life.predictions()[1:])
        assert answers[True] >= 30, (strategy, answers)
        before = image(life.service)
        follower, _ = life.follower()
        assert image(follower) == before


def test_an_evaluation_says_that_it_ignores_it(tiny, tmp_path, file, caplog):
    request = Request(train=str(file), sets=[f"warm_start={tmp_path}/gone.jsonl"], model=str(tiny))
    assert len(list(planned(request))) == 1
    assert "warm_start: ignored" in caplog.text
