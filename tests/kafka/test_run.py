"""`streamlearn run` on a real broker, in processes of its own.

Every record becomes exactly one prediction or one dead letter. A signal stops it in order and a start goes on from
there; a broker that dies costs repetition at most, never a record. What is typed by hand is learned within seconds.
Two runs of one name never run side by side. Prometheus and its tools read /metrics.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from tests.kafka.helpers import (
    BAD,
    PATIENCE,
    RECORD_BYTES,
    Process,
    call,
    configuration,
    lines,
    predictions,
    produce,
    read,
    reasons,
    until,
)
from tests.kafka.prometheus import prometheus

SMALL = {"max_batch": 8}


@pytest.fixture
def name(fresh_name):
    return fresh_name("run")


@pytest.fixture
def events(new_topic):
    return new_topic("events")


@pytest.fixture
def config(tmp_path, kafka, name, events, tiny):
    return configuration(
        tmp_path,
        name=name,
        address=kafka,
        events=events,
        model=tiny,
        serving=SMALL,
        learner={"max_wait_seconds": 2},
        limits={"record_bytes": RECORD_BYTES},
    )


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_every_record_is_one_prediction_or_one_dead_letter(tmp_path, kafka, name, events, config):
    good = lines(range(60))
    mixed = list(good)
    for place, (_, record) in enumerate(BAD):
        mixed.insert(5 * place + 3, record)
    produce(tmp_path, kafka, events, mixed, "--key", "id")
    with Process(tmp_path, "run", config, "--until-idle", "2", "--json") as run:
        summary = run.summary()

    made = predictions(kafka, f"{name}.predictions")
    assert sorted(p["id"] for p in made) == sorted(f"e{i}" for i in range(60))
    assert all((p["label"] is None) == p["abstained"] for p in made)
    assert made[0]["reason"] == "no-known-label"
    assert made[-1]["label"] in {"a", "b", "c"}
    dead = read(kafka, f"{name}.dead-letters")
    assert reasons(dead) == sorted(BAD)
    for letter in dead:
        assert letter.headers["streamlearn.topic"] == events.encode()
        assert letter.headers["streamlearn.partition"] == b"0"
        assert mixed[int(letter.headers["streamlearn.offset"])] == letter.value
        assert letter.headers["streamlearn.detail"]
    assert {letter.key for letter in dead if letter.value == BAD[6][1]} == {b"bad-7"}

    counts: dict[str, int] = {}
    for reason, _ in BAD:
        counts[reason] = counts.get(reason, 0) + 1
    assert summary["dead_letters"] == counts
    assert summary["events"] == len(mixed)
    assert summary["predictions"] == 60
    assert sum(summary["labels"].values()) == 60
    assert summary["samples_learned"]["new"] == summary["labels"]["learned"] >= 40
    assert summary["learner_step"] == summary["champion_step"] == 4
    assert summary["known_labels"] == 3
    assert summary["device"]
    assert summary["stage_seconds"]["learn"] > 0
    assert {key: value for key, value in summary.items() if key != "this_run"} == summary["this_run"]


@pytest.mark.slow
def test_a_closed_list_of_labels_refuses_others(tmp_path, kafka, name, events, config):
    produce(tmp_path, kafka, events, lines(range(8), ["a", "b"]) + lines([8], ["c"]))
    with Process(tmp_path, "run", config, "--set", "task.labels=[a, b]", "--until-idle", "2", "--json") as run:
        summary = run.summary()
    assert reasons(read(kafka, f"{name}.dead-letters")) == [("unknown-label", lines([8], ["c"])[0])]
    assert summary["dead_letters"] == {"unknown-label": 1}
    assert summary["known_labels"] == 2


@pytest.mark.slow
def test_a_number_of_events_ends_the_run(tmp_path, kafka, name, events, config):
    produce(tmp_path, kafka, events, lines(range(30)))
    with Process(tmp_path, "run", config, "--max-events", "11", "--json") as run:
        assert run.summary()["events"] == 11
    assert [p["id"] for p in predictions(kafka, f"{name}.predictions")] == [f"e{i}" for i in range(11)]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_in_mid_stream_stops_in_order(request, tmp_path, kafka, number):
    name, events, config = (request.getfixturevalue(fixture) for fixture in ("name", "events", "config"))
    produce(tmp_path, kafka, events, lines(range(1500)))
    with Process(tmp_path, "run", config, "--json") as run:
        until(lambda: len(predictions(kafka, f"{name}.predictions")) >= 50, PATIENCE, lambda: run.err)
        run.popen.send_signal(number)
        start = time.monotonic()
        summary = run.summary(30)
        assert time.monotonic() - start < 10
    before = [p["id"] for p in predictions(kafka, f"{name}.predictions")]
    assert 50 <= len(before) < 1500
    assert summary["predictions"] == len(before)

    with Process(tmp_path, "run", config, "--until-idle", "2", "--json", "--set", "serving.max_batch=256") as run:
        again = run.summary()
    assert (again["events"], again["this_run"]["events"]) == (1500, 1500 - len(before))
    assert again["labels"] != again["this_run"]["labels"]
    after = [p["id"] for p in predictions(kafka, f"{name}.predictions")]
    assert after == [f"e{i}" for i in range(1500)]


@pytest.mark.slow
def test_labels_typed_by_hand_are_learned_within_seconds(tmp_path, kafka, name, events, config):
    with (
        Process(tmp_path, "run", config) as run,
        Process(tmp_path, "produce", "-", "--topic", events, "--bootstrap-servers", kafka) as hand,
    ):
        run.says(f"reading {events}")
        hand.types('{"id": "first", "text": "w9"}')
        run.says("1 events, .* 0 of 16 labels waiting")
        hand.types(*(line.decode() for line in lines(range(3))))
        run.says("3 of 16 labels waiting")
        run.says("3 labels known, step 1, 0 of 16 labels waiting", 10)
        hand.types('{"id": "asked", "text": "w1 w1"}')
        asked = until(
            lambda: [p for p in predictions(kafka, f"{name}.predictions") if p["id"] == "asked"], 30, lambda: run.err
        )
        assert asked[0]["label"] in {"a", "b", "c"}
        assert asked[0]["model_step"] == 1
        assert not asked[0]["abstained"]
        run.popen.terminate()
        assert run.ends(30) == 0


@pytest.mark.slow
def test_a_second_run_of_the_same_name_is_refused(tmp_path, config):
    with Process(tmp_path, "run", config) as first:
        first.says("reading ")
        with Process(tmp_path, "run", config) as second:
            assert second.ends() == 2
            assert f"another run with this name is on (process {first.popen.pid})" in second.err
            assert "  -> stop it first" in second.err
        assert first.popen.poll() is None
        first.popen.kill()
        first.ends()
    with Process(tmp_path, "run", config, "--max-events", "0") as third:  # what a crash leaves behind is no lock
        assert third.ends() == 0


@pytest.mark.slow
def test_a_broker_that_dies_costs_no_event(tmp_path, own_broker, fresh_name, tiny):
    """What a crash of the broker interrupts may be done twice. An exit with 75 is answered with a restart."""
    name, address = fresh_name("run"), own_broker.address
    Admin(KafkaSettings(address)).ensure(["events"], 1)
    config = configuration(tmp_path, name=name, address=address, events="events", model=tiny, serving=SMALL)
    produce(tmp_path, address, "events", lines(range(3000)))
    with Process(tmp_path, "run", config, "--until-idle", "5") as run:
        until(lambda: len(predictions(address, f"{name}.predictions")) >= 50, PATIENCE, lambda: run.err)
        own_broker.kill()
        time.sleep(3)
        own_broker.start()
        code = run.ends()
        assert code in {0, 75}, run.err
        assert "Traceback" not in run.err
    for _ in range(3):
        if code == 0:
            break
        with Process(tmp_path, "run", config, "--until-idle", "5", "--set", "serving.max_batch=256") as run:
            code = run.ends()
            assert code in {0, 75}, run.err
    assert code == 0
    assert {p["id"] for p in predictions(address, f"{name}.predictions")} == {f"e{i}" for i in range(3000)}


@pytest.fixture(scope="module")
def address(tmp_path_factory, kafka, new_topic, fresh_name, tiny):
    """Return the address of the pages of a run that has taken 41 records, a bad one among them."""
    folder, events = tmp_path_factory.mktemp("pages"), new_topic("events")
    config = configuration(folder, name=fresh_name("pages"), address=kafka, events=events, model=tiny)
    produce(folder, kafka, events, [*lines(range(40)), BAD[0][1]])
    with Process(folder, "run", config) as run:
        address = run.says(r"metrics on (http://\S+)/metrics")[1]
        until(lambda: "streamlearn_events_total 41.0" in get(f"{address}/metrics")[1], PATIENCE, lambda: run.err)
        yield address


def test_the_pages_answer_while_it_runs(address):
    for page in ("healthz", "readyz"):
        status, body = get(f"{address}/{page}")
        assert (status, json.loads(body)["ok"]) == (200, True)
    assert 'streamlearn_dead_letters_total{reason="invalid-json"} 1.0' in get(f"{address}/metrics")[1]
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        get(f"{address}/else")
    refused.value.close()


@pytest.mark.tool("promtool")
def test_promtool_has_nothing_against_the_metrics(address):
    text = get(f"{address}/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.tool("prometheus")
def test_prometheus_scrapes_a_run(tmp_path, address):
    with prometheus(tmp_path, address.removeprefix("http://")) as server:
        for query in ("up == 1", "streamlearn_events_total == 41", "streamlearn_memory_samples > 0"):
            found = until(lambda query=query: server.query(query), 60, server.log.read_text)
            assert found[0]["metric"]["job"] == "streamlearn"


def test_a_misspelt_topic_is_refused_by_produce(tmp_path, kafka, new_topic):
    topic = new_topic("tickets")
    file = tmp_path / "one.jsonl"
    file.write_text('{"id": "1", "text": "w1"}\n')
    done = call("produce", file, "--topic", topic.replace("tickets", "tikets"), "--bootstrap-servers", kafka)
    assert done.returncode == 2
    assert f"did you mean '{topic}'" in done.stderr
    keyless = call("produce", file, "--topic", topic, "--bootstrap-servers", kafka, "--key", "idd")
    assert keyless.returncode == 0
    assert "1 of them have no field 'idd'" in keyless.stderr


def test_a_reader_that_has_enough_is_no_failure(kafka, new_topic, tmp_path):
    topic = new_topic("many")
    produce(tmp_path, kafka, topic, [b'{"id": "%d"}' % i for i in range(5_000)])
    pipeline = f"{sys.executable} -m streamlearn tail {topic} --from-beginning --json --bootstrap-servers {kafka}"
    shell = ["bash", "-o", "pipefail", "-c", f"{pipeline} | head -1"]
    done = subprocess.run(shell, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert not done.stderr
