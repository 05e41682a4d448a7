"""What is drawn and what may alarm has data.

A service learns a stream with new classes, drift, forgetting, late and bad records; a real Prometheus scrapes it, with
our rules; and every query of every panel, variable and alert is asked.
"""

import json
import math
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.deploy.queries import RULES, queries
from tests.kafka.helpers import BAD, PATIENCE, RECORD_BYTES, Process, configuration, produce, until
from tests.kafka.prometheus import prometheus

PHASES = 4
EVENTS = 700  # a phase
WINDOWS = {"reference": 100, "window": 50, "every": 10, "alpha": 1e-4}

# What did not happen in this run reads 0 or 1 all the time; what a setting fixes stands still.
STILL = (
    "streamlearn_learner_steps_skipped_total",
    "streamlearn_stalled_partitions",
    "streamlearn_batches_left_to_reapply",
    "streamlearn_memory_capacity_samples",
    "streamlearn_memory_bytes",
    "streamlearn_model_info",
    "streamlearn_forward_transfer",
    "up{",
    "variable ",
)


def phase(number, draw, events=EVENTS):
    """Two classes a phase, in words of their own: each phase is news, and what came before does not come again.

    Returns the events, some of which come twice, and labels of some that have none.
    """
    lines, labels = [], []
    for i in range(events):
        label = 2 * number + draw.randrange(2)
        words = " ".join(f"w{20 * label + draw.randrange(20)}" for _ in range(draw.randint(2, 6)))
        if draw.random() < 0.1 * number:
            words += " neverseen"
        happened = datetime.now(UTC) - timedelta(seconds=draw.choice([0, 0, 0, 40, 7200]))
        event = {
            "id": f"p{number}-{i}",
            "text": words,
            "time": happened.isoformat(),
            "slices": {"region": draw.choice(["eu", "us"])},
        }
        if draw.random() < 0.9:
            event["label"] = f"c{label}"
        elif draw.random() < 0.7:
            labels.append(json.dumps({"id": event["id"], "label": f"c{label}"}).encode())
        lines += [json.dumps(event).encode()] * draw.choice([1] * 50 + [2])
        if draw.random() < 0.03:
            lines.append(draw.choice(BAD)[1])
    return lines, labels


@pytest.mark.tool("prometheus")
@pytest.mark.timeout(600)
def test_every_panel_variable_and_alert_has_data(tmp_path, kafka, new_topic, fresh_name, tiny):
    events, late, draw = new_topic("proof", partitions=2), new_topic("late"), random.Random(0)
    detectors = {
        "error": {"name": "adwin"},
        "loss": {"name": "page-hinkley", "threshold": 10},
        "embedding": {"name": "mmd", **WINDOWS},
        **{signal: {"name": "ks", **WINDOWS} for signal in ("confidence", "unknown_tokens", "novelty")},
        "label": {"name": "js", **WINDOWS},
    }
    config = configuration(
        tmp_path,
        name=fresh_name("proof"),
        address=kafka,
        events=events,
        model=tiny,
        kafka={"topics": {"events": events, "labels": late}},
        joiner={"ttl": 20, "capacity": 40},
        learner={"replay_size": 0, "batch_size": 8, "learning_rate": 1e-3, "head_learning_rate": 0.05},
        metrics={"window": 100},
        probes={"share": 0.3, "budget": 3.0, "capacity": 20 * (2 * PHASES - 1)},  # one class finds no room
        drift=detectors,
        limits={"record_bytes": RECORD_BYTES},
        serving={"abstain_below": 0.5},
        snapshots={"every_seconds": 10},
    )
    with Process(tmp_path, "run", config) as run:
        address = run.says(r"metrics on (http://\S+)/metrics")[1]
        with prometheus(tmp_path, address.removeprefix("http://"), rules=[RULES]) as server:
            start = time.time()
            for number in range(PHASES):
                last = number == PHASES - 1  # more than can be taken between two scrapes: lag
                sent, labels = phase(number, draw, 5 * EVENTS if last else EVENTS)
                produce(tmp_path, kafka, late, labels[::2])  # these are early
                produce(tmp_path, kafka, events, sent, *(() if last else ("--rate", "60")))
                produce(tmp_path, kafka, late, labels[1::2])
            until(lambda: (server.value("streamlearn_forgetting") or 0) > 0.1, PATIENCE, lambda: run.err)
            time.sleep(3)
            end = time.time()
            series = {query: server.range(query.promql, start, end) for query in queries()}
        assert run.popen.poll() is None, run.err

    empty, still = [], []
    for query, found in series.items():
        values = {value for each in found for _, value in each["values"] if not math.isnan(float(value))}
        silent = query.where.startswith("alert ") and "operand" not in query.where  # an alert that need not fire now
        if not values and not silent:
            empty.append(query)
        if len(values) == 1 and not silent and not any(text in f"{query.where} {query.promql}" for text in STILL):
            still.append((query, values))
        assert "vector(" not in query.promql
    assert not empty, "\n".join(f"{query.where}: {query.promql}" for query in empty)
    assert not still, "\n".join(f"{query.where}: {query.promql} {values}" for query, values in still)
