"""A task decides what a label is: one whose labels are numbers runs through the whole service, with late labels,
corrections, forgetting, probes, bad labels, a snapshot and a replay, and nothing outside its own file knows of it."""

import math
import random
from dataclasses import replace

import numpy as np
import orjson
import pytest

from streamlearn.config.settings import check
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec
from streamlearn.durability import journal
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.tasks.family import tasks
from streamlearn.service.assembly import assemble
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message
from tests.number_task import NumberTask
from tests.past import Past, image

SIZE = 160


@pytest.fixture(autouse=True)
def _number_task():
    with tasks.registered("number", NumberTask):
        yield


def truth(at):
    return 1.0 if at % 2 else -1.0


def steps():
    """Events, and their labels up to 20 events later: some before the event, some wrong at first, some bad, and an id
    that is to be forgotten."""
    draw, found = random.Random(3), []
    for at in range(SIZE):
        own = f"e{at}"
        found.append((at, "events", own, {"id": own, "text": f"w{at % 2} w{at % 7}"}))
        later = at + draw.uniform(0, 20) if at % 11 else at - 5
        first = truth(at) if at % 13 else -truth(at)
        found.append((later, "labels", own, {"id": own, "label": first}))
        if not at % 13:
            found.append((later + 10, "labels", own, {"id": own, "label": truth(at)}))
        if not at % 40:
            found.append((at + 0.5, "labels", own, {"id": own, "label": "much"}))
    found.append((SIZE / 2, "labels", "e3", None))
    return [each[1:] for each in sorted(found, key=lambda each: each[0])]


def produce(past, some):
    for topic, own, value in some:
        past.log.append(topic, [Message(None if value is None else orjson.dumps(value), own.encode())])


def drain(past):
    while not past.service.source.at_end():
        past.service.turn()


@pytest.fixture
def past(tiny, tmp_path):
    learner = {"batch_size": 4, "replay_size": 4, "head_learning_rate": 0.1, "learning_rate": 1e-3}
    return Past(tiny, tmp_path / "state", labels=True, partitions=1, task="number", strategy="er", learner=learner)


def test_numbers_are_learned_and_measured(past):
    past.start()
    for part in range(0, len(steps()), 8):
        produce(past, steps()[part : part + 8])
        drain(past)
    service, published = past.service, past.predictions()
    assert len(published) == SIZE
    assert published[0]["value"] is None
    assert set(published[-1]) >= {"value", "abstained", "source", "model_step"}
    assert "label" not in published[-1]
    low, high = ([each["value"] for each in published[-40:] if truth(int(each["id"][1:])) == sign] for sign in (-1, 1))
    assert sum(high) / len(high) - sum(low) / len(low) > 1  # of 2
    measures = service.measures
    assert measures.prequential.figures()["mae"] < 1
    assert measures.prequential.accuracy > 0.5
    assert set(measures.probes.counts()) == {"negative", "positive"}
    assert service.totals.labels["correction"] > 5
    assert service.totals.dead_letters["label-type"] == 4
    assert "e3" not in service.learner.memory
    targets = [
        float(service.learner.memory.gather(np.array([slot])).labels[0]) for slot in range(len(service.learner.memory))
    ]
    assert set(targets) == {-1.0, 1.0}


def test_a_restart_and_a_replay_come_to_the_same(past):
    half = len(steps()) // 2
    past.start()
    for part in range(0, half, 8):
        produce(past, steps()[part : min(part + 8, half)])
        drain(past)
        if part == 80:
            assert past.save()
    waiting = len(past.service.intake.joiner.pending)
    before = image(past.service)
    past.start()
    assert image(past.service) == before
    assert len(past.service.intake.joiner.pending) == waiting > 0
    for part in range(half, len(steps()), 8):
        produce(past, steps()[part : part + 8])
        drain(past)
    follower, _ = past.follower()
    assert image(follower) == image(past.service)
    assert all(set(record.taken) <= set("-lpdwscxfgUL") for record in past.records(journal.Batch))
    assert math.isfinite(past.service.measures.prequential.figures()["mae"])


@pytest.mark.parametrize("name", [name for name in strategies if strategies.cls(name).needs_classes])
def test_a_strategy_that_needs_classes_is_refused(tiny, name):
    settings = check({
        "name": "test",
        "kafka": {"topics": {"events": "events"}},
        "model": {"name": str(tiny), "device": "cpu"},
        "task": "number",
        "strategy": "er",
    })  # fmt: skip
    unchecked = settings.root.model_copy(update={"strategy": ComponentSpec(name=name)})
    log = MemoryLog()
    for topic in ("events", "test.predictions", "test.dead-letters", "test.journal"):
        log.create(topic)
    with pytest.raises(ConfigError, match="needs a task of classes"):
        assemble(replace(settings, root=unchecked), MemorySource(log, ["events"]), MemoryOutlet(log))
