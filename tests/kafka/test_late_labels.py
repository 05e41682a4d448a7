"""Labels on a topic of their own, on a real broker: what is planned is what becomes of each, also when the learner is
killed in the middle; and whoever follows the journal has the same weights."""

import json
import time

import pytest

from tests.faults.audit import audit
from tests.kafka.helpers import ONE_THREAD, Process, call, configuration, predictions, produce, read, reasons
from tests.late import invented, plan

EVENTS = 300


@pytest.fixture
def topics(new_topic):
    return {"events": new_topic("events", partitions=3), "labels": new_topic("labels", partitions=2)}


def send(folder, kafka, topics, steps):
    for name, topic in topics.items():
        values = [step.value for step in steps if step.topic == name]
        produce(folder, kafka, topic, values, "--key", "id")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_outcome_is_the_plans(tmp_path, kafka, topics, fresh_name, tiny):
    name, planned = fresh_name("late"), plan(invented(EVENTS), delay=60)
    config = configuration(
        tmp_path,
        name=name,
        address=kafka,
        events=topics["events"],
        model=tiny,
        kafka={"topics": topics},
        learner={"batch_size": 8, "replay_size": 8, "max_wait_seconds": 1e6},
        serving={"max_batch": 16},
        probes={"share": 0.1},
        snapshots={"every_seconds": 1},
    )
    half = len(planned.steps) // 2
    send(tmp_path, kafka, topics, planned.steps[:half])
    with Process(tmp_path, "run", config, environment={**ONE_THREAD, "STREAMLEARN_FAILPOINT": "committed:6"}) as run:
        assert run.ends() == -9, run.err
    with Process(tmp_path, "run", config) as run:
        run.says("reading ")
        send(tmp_path, kafka, topics, planned.steps[half:])
        time.sleep(1)
        run.popen.kill()
    produce(tmp_path, kafka, topics["labels"], [b"{", b'{"id": "e1"}'])
    with Process(tmp_path, "run", config, "--until-idle", "2", "--json") as run:
        summary = run.summary()

    found = summary["labels"]
    assert found["learned"] + found["probe"] == planned.joined
    assert {outcome: found[outcome] for outcome in planned.outcomes} == planned.outcomes
    assert sum(found.values()) == len(planned.of("labels"))
    assert summary["events"] == EVENTS
    assert sorted(p["id"] for p in predictions(kafka, f"{name}.predictions")) == sorted(f"e{n}" for n in range(EVENTS))
    refused = [reason for reason, _ in reasons(read(kafka, f"{name}.dead-letters"))]
    assert refused == ["invalid-json", "label-type"]
    verdict = audit(kafka, name, topics["events"], topics["labels"])
    assert not verdict.wrong, "\n".join(verdict.wrong[:20])

    state = json.loads(call("inspect", tmp_path / "state", "--json", "--id", "e7").stdout)
    assert state["pending"] == planned.unlabelled
    assert "joiner" in state["found_in"]
    done = call("replay", config, "--verify", "--json", "--set", f"snapshots.path={tmp_path / 'empty'}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["weights_sha256"] == summary["weights_sha256"]


@pytest.mark.slow
def test_a_labels_topic_that_is_missing_is_named(tmp_path, kafka, topics, fresh_name, tiny):
    wrong = {**topics, "labels": topics["labels"][:-1]}
    config = configuration(
        tmp_path, name=fresh_name("late"), address=kafka, events=topics["events"], model=tiny, kafka={"topics": wrong}
    )
    for command in ("run", "doctor"):
        done = call(command, config)
        assert done.returncode == (2 if command == "run" else 1)
        assert topics["labels"] in done.stdout.replace("\n", "") + done.stderr
