"""A batch's records become events, labels and dead letters: each record has one fate, and an event is new once."""

import orjson
import pytest

from streamlearn.stream.events import Event
from streamlearn.stream.transport import Record
from tests.world import World


@pytest.fixture
def intake(tiny):
    return World(tiny, kafka={"topics": {"events": "events", "labels": "labels"}}).service.intake


def records(*values, topic="events", start=0):
    """Records of one partition; a string stands for an event, or a label, of that id."""
    more = {"text": "w1"} if topic == "events" else {"label": "c1"}
    data = [orjson.dumps({"id": value, **more}) if isinstance(value, str) else value for value in values]
    return [Record(topic, 0, start + at, None, value, (), 1000) for at, value in enumerate(data)]


def test_each_record_of_a_batch_has_one_fate(intake):
    batch = [*records("a", b"{", "b"), *records("a", b"[]", topic="labels")]
    came = intake.decode(batch)
    assert [event.id for event in came.events] == ["a", "b"]
    assert [label.id for label in came.labels] == ["a"]
    assert [letter.reason for letter in came.dead_letters] == ["invalid-json", "schema"]
    assert (came.of_events, len(came.records)) == (3, 5)


def test_an_event_is_new_once_in_a_batch(intake):
    came = intake.decode(records("a", "b", "a", "c"))
    assert came.rows == [0, 1, -1, 2]
    assert [event.id for event in came.new] == ["a", "b", "c"]
    assert all(type(event) is Event for event in came.new)


def test_a_label_that_kills_is_left_out_and_a_new_event_is_for_who_answers(intake):
    events, labels = records("a", "b"), records("x", "y", topic="labels")
    came = intake.decode([*events, *labels], crashed=[events[0].place, labels[1].place])
    assert [label.id for label in came.labels] == ["x"]
    assert [event.id for event in came.events] == ["a", "b"]
    assert came.killers == [labels[1].place]
    assert [letter.reason for letter in came.dead_letters] == ["crashed"]
