"""Real processes on a real Kafka, killed in every way: no event is lost or predicted twice, no label is learned twice,
and whoever follows the journal has the same weights. `./dev faults` runs the long ones too.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import Producer

from streamlearn.durability import failpoints
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from tests.faults.audit import audit
from tests.faults.lives import dies_at, exact, finished, killed, late, learner, replayed, stream
from tests.kafka.helpers import ONE_THREAD, PATIENCE, Process, call, predictions, until

ER = {"name": "er"}
DUAL = {"name": "dual", "features": 300, "rehearsal": "always"}  # both its halves learn in every step


@pytest.fixture(params=[ER, DUAL], ids=lambda each: each["name"])
def learns(request, tiny):
    """How a learner learns: its model and its strategy."""
    return {"model": tiny, "strategy": request.param}


@pytest.fixture
def name(fresh_name):
    return fresh_name("fault")


def sent(folder, kafka, events, lines, rate=None):
    """Send the events of a stream by their ids, at a rate beside the test or at once."""
    file = folder / f"{events}.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    arguments = ("produce", file, "--topic", events, "--bootstrap-servers", kafka, "--key", "id")
    if rate is None:
        done = call(*arguments)
        assert done.returncode == 0, done.stderr
        return None
    return Process(folder, *arguments, "--rate", str(rate))


def deaths(folder, kafka, events, config, *, count, kills, rate, seed=0, beside=None):
    """Kill one learner after the other while the stream comes; return what the last one says.

    `beside` is a process that sends labels meanwhile.
    """
    draw = random.Random(seed)
    with sent(folder, kafka, events, stream(count), rate) as source:
        for _ in range(kills):
            killed(folder, config, draw)
        assert source.ends(3600) == 0, source.err
    assert beside is None or beside.ends(600) == 0, beside.err
    return finished(folder, config)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("strategy", "count", "kills"),
    [
        pytest.param(ER, 300, 2, id="er-short"),
        pytest.param(ER, 1200, 4, id="er", marks=pytest.mark.slow),
        pytest.param(DUAL, 1200, 4, id="dual", marks=pytest.mark.slow),
    ],
)
def test_a_few_deaths_at_random_moments(tmp_path, kafka, new_topic, name, tiny, *, strategy, count, kills):
    """Labels come with most events; those of the others on a topic of their own, before the event or after it."""
    events, labels = new_topic("events", partitions=4), new_topic("labels", partitions=2)
    topics = {"topics": {"events": events, "labels": labels}}
    config = learner(tmp_path, name, kafka, events, tiny, kafka=topics, strategy=strategy)
    with sent(tmp_path, kafka, labels, late(count), 9) as source:
        summary = deaths(tmp_path, kafka, events, config, count=count, kills=kills, rate=60, beside=source)
    verdict = exact(kafka, name, events, count, labels)
    assert summary["events"] == count
    assert verdict.outcomes == summary["labels"]
    assert (verdict.outcomes["duplicate"], verdict.outcomes["correction"]) == (10, 10)
    outcomes = ("learned", "probe", "duplicate", "correction")
    assert sum(verdict.outcomes[each] for each in outcomes) == sum(verdict.outcomes.values())
    assert verdict.outcomes["learned"] + verdict.outcomes["probe"] == count
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_fifty_deaths_at_random_moments(tmp_path, kafka, new_topic, name, tiny):
    events = new_topic("events", partitions=4)
    config = learner(tmp_path, name, kafka, events, tiny)
    summary = deaths(tmp_path, kafka, events, config, count=10_000, kills=50, rate=28)
    verdict = exact(kafka, name, events, 10_000)
    assert verdict.starts >= 30  # the others died before they had taken over
    assert summary["events"] == 10_000
    assert verdict.outcomes == summary["labels"]
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_on_one_partition_twenty_deaths_end_as_none(tmp_path, kafka, new_topic, fresh_name, learns):
    events, ends = new_topic("events"), []
    with sent(tmp_path, kafka, events, stream(3000), 100) as source:
        assert source.ends(600) == 0
    for kills in (0, 20):
        name, draw = fresh_name("fault"), random.Random(1)
        config = learner(tmp_path, name, kafka, events, serving={"max_batch": 4}, **learns)
        for _ in range(kills):
            killed(tmp_path, config, draw)
        ends.append(finished(tmp_path, config))
        exact(kafka, name, events, 3000)
    same = ("weights_sha256", "labels", "learner_step", "samples_learned", "events")
    assert {key: ends[0][key] for key in same} == {key: ends[1][key] for key in same}


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_each_failpoint_once(tmp_path, kafka, new_topic, name, tiny):
    events = new_topic("events", partitions=4)
    config = learner(tmp_path, name, kafka, events, tiny, snapshots={"every_seconds": 0.2})
    sent(tmp_path, kafka, events, stream(2000))
    dies_at(tmp_path, config, "learned:3")
    for failpoint in failpoints.NAMES:
        if failpoint in {"warming", "warmed"}:  # tests/service/test_warm_start.py
            continue
        times = 1 if failpoint in {"started", "reapplied"} else 3
        dies_at(tmp_path, config, f"{failpoint}:{times}")
        if failpoint == "snapshot-named":
            dies_at(tmp_path, config, "learned:3")  # something for the next ones to apply again
    summary = finished(tmp_path, config, "--set", "snapshots.every_seconds=5")
    exact(kafka, name, events, 2000)
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_broker_that_is_killed_five_times(tmp_path, own_broker, name, tiny):
    address = own_broker.address
    Admin(KafkaSettings(address)).ensure(["events"], 4)
    config = learner(tmp_path, name, address, "events", tiny)
    sent(tmp_path, address, "events", stream(5000))
    draw = random.Random(2)
    codes = []
    for _ in range(5):
        with Process(tmp_path, "run", config) as run:
            run.says("reading ")
            time.sleep(draw.uniform(0.2, 1.5))
            own_broker.kill()
            time.sleep(draw.uniform(0.5, 3))
            own_broker.start()
            time.sleep(3)
            codes.append(run.popen.poll())
            assert codes[-1] in {None, 75}, run.err
            assert "Traceback" not in run.err
            run.popen.kill()
    summary = finished(tmp_path, config)
    exact(address, name, "events", 5000)
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_broker_that_stands_still_past_the_transaction_timeout(tmp_path, own_broker, name, tiny):
    address = own_broker.address
    Admin(KafkaSettings(address)).ensure(["events"], 4)
    client = {"client": {"transaction.timeout.ms": 5000}}
    config = learner(tmp_path, name, address, "events", tiny, kafka=client)
    sent(tmp_path, address, "events", stream(4000))
    pid = int((own_broker.home / "pid").read_text())
    with Process(tmp_path, "run", config, "--until-idle", "5", "--json") as run:
        run.says("reading ")
        time.sleep(0.7)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(20)
        os.kill(pid, signal.SIGCONT)
        assert run.ends(300) in {0, 75}, run.err
        assert "Traceback" not in run.err
    summary = finished(tmp_path, config)
    exact(address, name, "events", 4000)
    replayed(tmp_path, config, summary)


@pytest.mark.slow
def test_at_least_once_loses_nothing_and_learns_once(tmp_path, kafka, new_topic, name, tiny):
    events = new_topic("events", partitions=2)
    config = learner(tmp_path, name, kafka, events, tiny, kafka={"delivery": "at-least-once"})
    sent(tmp_path, kafka, events, stream(800))
    dies_at(tmp_path, config, "learned:3")
    dies_at(tmp_path, config, "sent:2")  # the predictions of a batch are out, and the journal does not know of it
    summary = finished(tmp_path, config)
    verdict = audit(kafka, name, events)
    assert not verdict.wrong
    assert verdict.predictions == 800
    assert 0 < verdict.repeated <= 16
    assert verdict.outcomes == summary["labels"]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_two_learners_of_one_name(tmp_path, kafka, new_topic, name, tiny):
    """On two machines no lock helps: the broker lets the later one in, and the earlier one leaves for good."""
    events = new_topic("events", partitions=2)
    config = learner(tmp_path, name, kafka, events, tiny)
    sent(tmp_path, kafka, events, stream(600))
    elsewhere = f"snapshots.path={tmp_path / 'elsewhere'}"
    with Process(tmp_path, "run", config) as first:
        first.says("reading ")
        until(lambda: len(predictions(kafka, f"{name}.predictions")) >= 100, PATIENCE, lambda: first.err)
        with Process(tmp_path, "run", config, "--set", elsewhere, "--until-idle", "5", "--json") as second:
            second.says("reading ")
            sent(tmp_path, kafka, events, stream(900)[600:])
            assert first.ends() == 3, first.err
            assert "took over" in first.err
            summary = second.summary()
    exact(kafka, name, events, 900)
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_full_disk_under_the_snapshots(tmp_path, kafka, new_topic, name, tiny):
    events = new_topic("events", partitions=2)
    config = learner(tmp_path, name, kafka, events, tiny)
    sent(tmp_path, kafka, events, stream(600))
    command = f"ulimit -f 16; exec {sys.executable} -m streamlearn run {config} --until-idle 4 --json"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        check=False,
        timeout=300,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    assert done.returncode == 0, done.stderr
    assert "no snapshot was written, and the learner goes on" in done.stderr
    assert "Traceback" not in done.stderr
    before = json.loads(done.stdout)
    summary = finished(tmp_path, config)
    assert summary["weights_sha256"] == before["weights_sha256"]
    exact(kafka, name, events, 600)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damaged_snapshots(request, tmp_path, kafka, name, how):
    tiny, events = request.getfixturevalue("tiny"), request.getfixturevalue("new_topic")("events", partitions=2)
    config = learner(tmp_path, name, kafka, events, tiny)
    for part in range(3):
        sent(tmp_path, kafka, events, stream(900)[300 * part : 300 * part + 300])
        before = finished(tmp_path, config)
    snapshots = sorted((tmp_path / f"state-{name}").glob("snapshot-*"))
    assert 2 <= len(snapshots) <= 3
    for damaged in (1, len(snapshots)):  # the newest, then all: the journal is enough
        for snapshot in snapshots[-damaged:]:
            file = snapshot / "weights.safetensors"
            data = bytearray(file.read_bytes())
            data[-1] ^= how == "flipped"
            file.write_bytes(data if how == "flipped" else data[: len(data) // 2])
        with Process(tmp_path, "run", config, "--max-events", "0", "--json", "--set", "snapshots.keep=9") as run:
            assert run.summary()["weights_sha256"] == before["weights_sha256"]
            assert "a snapshot is of no use" in run.err
            assert str(snapshots[-1].name) in run.err
        snapshots = sorted((tmp_path / f"state-{name}").glob("snapshot-*"))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_snapshot_of_a_newer_version_is_refused(tmp_path, kafka, new_topic, name, tiny):
    events = new_topic("events", partitions=2)
    config = learner(tmp_path, name, kafka, events, tiny)
    sent(tmp_path, kafka, events, stream(100))
    finished(tmp_path, config)
    snapshot = max((tmp_path / f"state-{name}").glob("snapshot-*"))
    manifest = json.loads((snapshot / "manifest.json").read_text())
    (snapshot / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    done = call("inspect", snapshot)
    assert done.returncode == 1
    assert "has format 2" in done.stderr
    assert "install the version" in done.stderr


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_topic_that_was_made_anew(tmp_path, own_broker, name, tiny):
    address = own_broker.address
    admin = Admin(KafkaSettings(address))
    admin.ensure(["events"], 2)
    config = learner(tmp_path, name, address, "events", tiny)
    sent(tmp_path, address, "events", stream(300))
    before = finished(tmp_path, config)
    admin._client.delete_topics(["events"])["events"].result(30)
    until(lambda: "events" not in admin.topics(), 30)
    admin.ensure(["events"], 2)
    sent(tmp_path, address, "events", stream(500)[300:])
    refused = call("run", config, "--until-idle", "1")
    assert refused.returncode == 1
    assert "the topic 'events': the topic was made anew" in refused.stderr
    assert "recovery.accept_loss" in refused.stderr
    accepted = finished(tmp_path, config, "--set", "recovery.accept_loss=true")
    assert accepted["this_run"]["events"] == 200
    assert accepted["learner_step"] > before["learner_step"]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_inputs_that_were_written_in_transactions(tmp_path, kafka, new_topic, name, tiny):
    """Their markers and what was aborted are offsets without a record."""
    events = new_topic("events", partitions=3)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    producer.init_transactions(30)
    good = 0
    for number, line in enumerate(stream(600)):
        if number % 10 == 0:
            producer.begin_transaction()
        producer.produce(events, line, json.loads(line)["id"])
        if number % 10 == 9:
            if number % 30 == 29:
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
                good += 10
    config = learner(tmp_path, name, kafka, events, tiny)
    dies_at(tmp_path, config, "learned:2")
    dies_at(tmp_path, config, "committed:3")
    summary = finished(tmp_path, config)
    exact(kafka, name, events, good)
    replayed(tmp_path, config, summary)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_record_that_kills_time_and_again(tmp_path, kafka, new_topic, name, tiny):
    """A model that does not survive a text is played by a death at the first prediction of each life."""
    events = new_topic("events")
    config = learner(tmp_path, name, kafka, events, tiny)
    sent(tmp_path, kafka, events, stream(100))
    for _ in range(5):
        dies_at(tmp_path, config, "predicted")
    with Process(tmp_path, "run", config, "--until-idle", "2", "--json") as run:
        summary = run.summary()
        assert "has killed the process time and again" in run.err
    assert summary["dead_letters"] == {"crashed": 1}
    verdict = audit(kafka, name, events)
    assert not verdict.wrong
    assert verdict.predictions == 99


@pytest.mark.slow
def test_snapshots_are_inspected_exported_and_replayed(tmp_path, kafka, new_topic, fresh_name, learns):
    events, name = new_topic("events", partitions=2), fresh_name("fault")
    config = learner(tmp_path, name, kafka, events, **learns)
    sent(tmp_path, kafka, events, stream(300))
    summary = finished(tmp_path, config)
    state = tmp_path / f"state-{name}"
    shown = json.loads(call("inspect", state, "--json", "--id", "nobody").stdout)
    assert shown["weights_sha256"] == summary["weights_sha256"]
    assert shown["step"] == summary["learner_step"]
    assert shown["memory"]["samples"] == sum(shown["memory"]["by_label"].values()) > 0
    assert sum(shown["offsets"].values()) >= 300
    assert len(shown["labels"]) == summary["known_labels"]
    assert shown["found_in"] == []
    assert shown["made_by"]["name"] == name

    done = call("export", state, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    code = (
        "import sys; from transformers import AutoModel, AutoTokenizer; from safetensors.torch import load_file\n"
        "AutoTokenizer.from_pretrained(sys.argv[1]); m = AutoModel.from_pretrained(sys.argv[1])\n"
        "print(len(load_file(sys.argv[1] + '/head.safetensors')['weight']), m.config.hidden_size)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True, check=True, timeout=120
    )
    assert opened.stdout == f"{summary['known_labels']} 32\n"
    assert "is not empty" in call("export", state, tmp_path / "model").stderr

    past = call("replay", config, "--to-step", "5", "--json")
    assert past.returncode == 0, past.stderr
    assert json.loads(past.stdout)["step"] == 5
    again = call("replay", config, "--export", tmp_path / "again", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["weights_sha256"] == summary["weights_sha256"]
    for file in ("head.safetensors", "model.safetensors", "head.json", "labels.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "model" / file).read_bytes()
    too_far = call("replay", config, "--to-step", "99999")
    assert too_far.returncode == 1
    assert "the journal ends at step" in too_far.stderr
    other = call("replay", config, "--set", "learner.batch_size=3", "--set", f"snapshots.path={tmp_path / 'none'}")
    assert other.returncode == 2
    assert "--set learner.batch_size=8" in other.stderr
