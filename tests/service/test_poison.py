"""A record that kills the process is found, whatever it is, and becomes a dead letter; labels that kill are let go."""

from collections import Counter

import orjson
import pytest

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.recovery_plan import DEATHS
from streamlearn.stream.transport import Message, TopicPartition
from tests.past import Died, Past, dying, event, image, label, learned, send

pytestmark = pytest.mark.usefixtures("one_thread")


class Kills:
    """A model that does not survive one text."""

    def __init__(self, predictor, text):
        self.predictor, self.text = predictor, text

    def predict(self, texts):
        if any(self.text in text for text in texts):
            raise Died
        return self.predictor.predict(texts)


def test_a_record_that_kills_becomes_a_dead_letter(past, caplog):
    past.produce(20)
    past.log.append("events", [Message(b'{"id": "killer", "text": "w1 boom", "label": "c1"}', b"killer")])
    past.produce(20)
    starts, done = 0, False
    while not done:
        starts += 1
        service = past.start()
        service.predictor = Kills(service.predictor, "boom")
        try:
            past.drain()
            done = True
        except Died:
            assert starts < 12
    assert starts == DEATHS + 3  # two deaths while it was taken alone make it certain
    assert "has killed the process time and again" in caplog.text
    dead = [dict(record.headers) for record in past.log.records("test.dead-letters")]
    assert [letter["streamlearn.reason"] for letter in dead] == [b"crashed"]
    assert sorted(p["id"] for p in past.predictions()) == sorted(f"e{i}" for i in range(40))
    assert past.service.poison.suspect is None
    before = image(past.service)
    past.start()
    assert image(past.service) == before


def test_labels_that_kill_are_discarded(past, caplog):
    past.produce(20)
    killer = {"id": "killer", "text": "w1 boom", "label": "c1"}
    past.log.append("events", [Message(orjson.dumps(killer), b"killer")])
    past.produce(20)
    past.sections["probes"] = {"share": 0}
    starts, done = 0, False

    def dies(samples, update):
        if any(sample.id == "killer" for sample in samples):
            raise Died
        return update(samples)

    while not done:
        starts += 1
        assert starts < 12
        try:
            past.start(deadly=dies)
            past.drain()
            done = True
        except Died:
            pass
    assert "kill the process: they are not learned" in caplog.text
    labels = past.service.totals.labels
    assert 0 < labels["discarded"] <= 12
    assert labels.total() + len(past.service.learner.waiting) == 33  # of 41, each fifth without
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}
    before = image(past.service)
    past.start(deadly=dies)
    assert image(past.service) == before
    follower, _ = past.follower()
    assert image(follower) == before


def test_records_that_are_gone_kill_nobody_however_often_that_is_refused(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state", partitions=1, probes={"share": 0})
    past.start()
    past.produce(40)
    past.drain()
    past.log.truncate(TopicPartition("events", 0), 20)
    for _ in range(8):
        with pytest.raises(StreamlearnError, match="the log now gives"):
            past.start()
    assert past.records(journal.Discard) == []
    past.start(accept_loss=True)
    labels = past.service.totals.labels
    assert (labels["discarded"], labels["learned"] + len(past.service.learner.waiting)) == (
        0,
        16,
    )


def test_a_record_that_kills_is_found_while_other_partitions_move(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    killer = Message(b'{"id": "killer", "text": "w1 boom", "label": "c1"}', b"killer")
    past.log.append("events", [killer], partition=1)
    starts = 0
    while not past.log.records("test.dead-letters"):
        starts += 1
        assert starts < 15
        past.produce(4)
        service = past.start()
        service.predictor = Kills(service.predictor, "boom")
        with dying("started", 2):
            past.drain()
    assert len(past.log.records("test.dead-letters")) == 1
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}


@pytest.mark.parametrize(
    ("killers", "labelled"),
    [([label("a", "x"), label("b", "y")], 1), ([event("a", "x")], 0)],
    ids=["a label", "an event that came again"],
)
def test_what_answers_nothing_and_kills_time_and_again_is_a_dead_letter(make, killers, labelled):
    past = make()
    past.start()
    send(past, event("a"), event("b"))
    past.drain()
    send(past, *killers)
    for _ in range(5):
        with dying("predicted"):
            past.start()
            past.drain()
    past.start()
    past.drain()
    assert past.service.totals.dead_letters == {"crashed": 1}
    assert past.service.totals.duplicates == 0
    past.start()
    assert len(learned(past)) == labelled
    assert len(past.service.intake.joiner.pending.ids) == 2 - labelled
    follower, _ = past.follower()
    assert image(follower) == image(past.service)
    assert follower.lifecycle.disagreements == 0
