"""A learner that begins with a file, in processes of its own on a real broker: killed or stopped on the way, it is
ready only once it knows the file, and learns each row once."""

import json
import re
import signal
import urllib.error
import urllib.request

import pytest

from tests.faults.lives import dies_at, exact, finished, learner, replayed, stream
from tests.kafka.helpers import ONE_THREAD, Process, configuration, produce

ROWS = 700


def written(folder):
    path = folder / "history.jsonl"
    rows = [{"id": f"h{i}", "text": f"w{i % 12} w{i % 31}", "label": f"c{i % 12}"} for i in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def name(fresh_name):
    return fresh_name("warm")


@pytest.fixture
def events(new_topic):
    return new_topic("events")


def begins_with(config, file):
    with config.open("a") as text:
        text.write(f"warm_start: {file}\n")
    return config


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deaths_on_the_way(tmp_path, kafka, name, tiny, events):
    config = learner(tmp_path, name, kafka, events, tiny, snapshots={"every_seconds": 1e6})
    begins_with(config, written(tmp_path))
    dies_at(tmp_path, config, "warmed:1")
    produce(tmp_path, kafka, events, stream(100))
    summary = finished(tmp_path, config)
    exact(kafka, name, events, 100)
    assert sum(summary["labels"].values()) == ROWS + sum("label" in json.loads(line) for line in stream(100))
    replayed(tmp_path, config, summary)


@pytest.mark.slow
def test_ready_when_it_is_done_and_stopped_in_order(tmp_path, kafka, name, tiny, events):
    history = written(tmp_path)
    config = begins_with(learner(tmp_path, name, kafka, events, tiny, learner={"batch_size": 1}), history)
    with Process(tmp_path, "run", config, environment=ONE_THREAD) as run:
        address = run.says(r"status page on (http://\S+),").group(1)
        run.says("warm start from")
        with pytest.raises(urllib.error.HTTPError) as waits:
            urllib.request.urlopen(f"{address}/readyz", timeout=30)
        with waits.value as answer:
            assert answer.status == 503
            assert json.loads(answer.read())["warm_start_rows"] == ROWS
        run.popen.send_signal(signal.SIGTERM)
        assert run.ends() == 0
        assert re.search(r"warm start: stopped after \d+ of 700 rows", run.err)
    summary = finished(tmp_path, config)  # goes on
    assert sum(summary["labels"].values()) == ROWS


@pytest.mark.slow
def test_on_the_embedded_broker(tmp_path, tiny):
    config = configuration(tmp_path, name="embedded", address="embedded", events="events", model=tiny)
    with Process(tmp_path, "run", begins_with(config, written(tmp_path)), "--until-idle", "1", "--json") as run:
        assert sum(run.summary()["labels"].values()) == ROWS
