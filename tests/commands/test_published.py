"""Whatever the partitions, what was published of each record is found in the journal's order, and a bounded part of the
topic is in memory."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.commands.published import Published, said
from streamlearn.stream.memory_log import MemoryLog, MemorySource
from streamlearn.stream.transport import Message, Place, Range, TopicPartition


def prediction(place, step):
    top = [{"label": f"c{place.offset % 3}", "score": 0.5}]
    return {"label": top[0]["label"], "score": 0.5, "top": top, "model_step": step, "source": place._asdict()}


def publish(log, place, step=1):
    """Publish as the service does: the event's id is the key, and so chooses the partition."""
    key = f"{place.partition}-{place.offset}".encode()
    log.append("predictions", [Message(orjson.dumps(prediction(place, step)), key)])


def expected(place, step=1):
    return said(prediction(place, step), step)


def batches(count, size, partitions=2):
    """Yield batches as they are learned: so many records of each partition, with their ranges."""
    for start in range(0, count * size, size):
        offsets = range(start, start + size)
        yield [
            (Range("events", each, start, start + size, size, ""), [Place("events", each, n) for n in offsets])
            for each in range(partitions)
        ]


def topic(partitions):
    log = MemoryLog()
    log.create("predictions", partitions)
    return log


def opened(log, passed=None, ahead=100):
    return Published(MemorySource(log, ["predictions"]), passed or {}, ahead=ahead)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_long_topic_is_never_held_whole(partitions):
    log, stream = topic(partitions), list(batches(200, 10))
    for batch in stream:
        for _, places in batch:
            for place in places:
                publish(log, place)
    published, most = opened(log), 0
    assert published.whole
    for batch in stream:
        for _, places in batch:
            for place in places:
                assert published.pop(place) == expected(place)
                most = max(most, published.held)
        published.leave(each for each, _ in batch)
    assert most <= partitions * 100 < len(log.records("predictions")) == 4000


@settings(deadline=None, max_examples=50)
@given(
    partitions=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    repeats=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_what_was_published_last_counts(partitions, sizes, repeats):
    log, at, stream = topic(partitions), 0, []
    for size, repeated in zip(sizes, repeats, strict=False):
        places = [Place("events", 0, at + n) for n in range(size)]
        for step in range(repeated + 1):  # a crash after each but the last
            for place in places:
                publish(log, place, step)
        stream.append((places, repeated))
        at += size
    published = opened(log, ahead=72)
    for places, repeated in stream:
        for place in places:
            assert published.pop(place) == expected(place, repeated)
        published.leave([Range("events", 0, places[0].offset, places[-1].offset + 1, len(places), "")])
        assert published.held <= 72 * partitions


def test_what_was_published_before_the_snapshot_is_left_out():
    log = topic(2)
    for n in range(500):
        publish(log, Place("events", 0, n))
        publish(log, Place("events", 1, n))
    published = opened(log, {TopicPartition("events", 0): 480, TopicPartition("events", 1): 490}, ahead=20)
    assert published.pop(Place("events", 0, 480)) == expected(Place("events", 0, 480))
    assert published.pop(Place("events", 1, 490)) == expected(Place("events", 1, 490))
    assert published.pop(Place("events", 1, 3)) is None


def test_what_retention_took_is_told_from_what_was_never_there():
    log = topic(1)
    for n in range(10):
        publish(log, Place("events", 0, n))
    assert opened(log).whole
    log.truncate(TopicPartition("predictions", 0), 4)
    published = opened(log)
    assert not published.whole
    assert [published.pop(Place("events", 0, n)) is None for n in range(10)] == [True] * 4 + [False] * 6


def test_what_a_learner_publishes_meanwhile_is_found():
    log = topic(2)
    published = opened(log)
    for n in range(30):
        publish(log, Place("events", 0, n))
        assert published.pop(Place("events", 0, n)) == expected(Place("events", 0, n))
